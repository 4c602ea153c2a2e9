"""Serupa: visual search and recommendation for fashion catalogues."""

__version__ = "0.1.0"
