"""``serupa info``: what a catalogue is and holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serupa.cli.options import CatalogPath, Json, Wait
from serupa.cli.printing import as_json, pairs, placement, size


def info(catalog: CatalogPath, wait: Wait = 0.0, json: Json = False) -> None:
    """Say what a catalogue holds: counts, encoder, metrics, fields, size on disk."""
    from serupa.catalog import Catalog

    with Catalog.open(catalog, wait_s=wait) as opened:
        known = opened.info()
        if status := opened.backend.status():
            known["server"] |= status
    if json:
        as_json(known)
        return
    fields = ", ".join(f"{name} ({kind})" for name, kind in known["fields"].items())
    search = f"{known['indexed_vectors']} vectors indexed" if known["indexed_vectors"] else "exact (small)"
    pairs(
        {
            "Catalogue": known["path"],
            "Items": f"{known['items']} photos of {known['products']} products",
            "Encoder": f"{known['encoder']}, {known['dimension']} values, "
            f"{known['input_size']} px, {known['resize']}",
            "Metrics": ", ".join(known["metrics"]),
            "Search": search,
            "Tuning": _tuning(known["tuning"]),
            "Fields": fields or "none",
            "On disk": "the server's" if known["size_bytes"] is None else size(known["size_bytes"]),
            **_server(known),
            "Created": f"{known['created']} by serupa {known['serupa']}",
        }
    )
    if len(known.get("server", {}).get("nodes", ())) > 1:
        placement(known["server"])


def _tuning(known: Mapping[str, Any] | None) -> str:
    if known is None:
        return "none"
    if "gain" not in known:  # a whitening put in by hand, from Python
        return f"{known['dimension']} values, {known['when']}"
    gain = known["gain"]
    return (
        f"by {', '.join(known['labels'])}, {known['dimension']} values; mAP {gain['before']:.3f} to "
        f"{gain['after']:.3f} on products not learned from; {known['when']}"
    )


def _server(known: Mapping[str, Any]) -> dict[str, str]:
    server = known.get("server")
    if server is None:
        return {}
    disk = "on disk" if server["on_disk"] else "in memory"
    return {
        "Server": f"{server['collection']}, {server['status']}; shards {server['shards'] or 'automatic'}, "
        f"replicas {server['replicas']}; quantization {server['quantization']}, vectors {disk}",
        **({"Not as asked": "; ".join(server["deviations"])} if server["deviations"] else {}),
    }
