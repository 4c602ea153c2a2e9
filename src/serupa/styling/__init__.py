"""Advice on clothes: tastes, what a garment is, wardrobes and outfits. All of it stands on `Catalog`."""
