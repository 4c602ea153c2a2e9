"""Make tiny encoders as the hub has them, and what PyTorch makes of photos and words with them.

`python tests/reference/make_hub.py [--out DIR]`. Needs torch, transformers, onnx and onnxscript, which are no
dependencies of Serupa. Weights are random; each folder below DIR is a repository in the layout of
transformers.js, and `hub.npz` beside them holds the embeddings that `transformers` itself gives.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.encoders.checkpoints import pictures

HERE = Path(__file__).parent / "hub"
TEXTS = (
    "red dress",
    "Black hooded JACKET, with white stripes!",
    "kemeja batik lengan panjang untuk pria, warna biru tua, bahan katun, ukuran besar dan nyaman dipakai",
    "",
    "café  déjà-vu 100% cotton",
)


def photos() -> list[Image.Image]:
    """Wide, tall, square, odd; none over four times the size of an input, so that all are decoded whole."""
    drawn = pictures(4, 120)
    sizes = ((120, 77), (61, 113), (48, 48), (97, 101))
    return [Image.fromarray(one[:h, :w]) for one, (w, h) in zip(drawn, sizes, strict=True)]


def _bpe(folder: Path, kind: str, length: int) -> Any:
    """Make a tokenizer that knows a few words whole, and keep it as the library that made the model does."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = [
        "red",
        "dress",
        "black",
        "hooded",
        "jacket",
        "white",
        "stripe",
        "kemeja",
        "batik",
        "panjang",
        "biru",
    ]
    if kind == "clip":
        special, end, space = ["<|startoftext|>", "<|endoftext|>"], "</w>", ""
        letters = sorted(pre_tokenizers.ByteLevel.alphabet())
        before: Any = pre_tokenizers.ByteLevel(add_prefix_space=False)
        unknown, names = (
            special[1],
            {"bos_token": special[0], "eos_token": special[1], "pad_token": special[1]},
        )
        template = f"{special[0]} $A {special[1]}"
    else:
        special, end, space = ["<pad>", "<eos>", "<unk>"], "", "▁"
        letters = [space, *"abcdefghijklmnopqrstuvwxyz0123456789,.!%-"]
        before = pre_tokenizers.Metaspace()
        unknown, names = (
            special[2],
            {"eos_token": special[1], "pad_token": special[0], "unk_token": special[2]},
        )
        template = f"$A {special[1]}"
    merges: dict[tuple[str, str], str] = {}
    for word in words:
        parts = [*space, *word[:-1], word[-1] + end]
        whole = parts[0]
        for part in parts[1:]:
            merges[whole, part] = whole = whole + part
    tokens = [*special, *letters, *(letter + end for letter in letters if end), *merges.values()]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    ending = {"end_of_word_suffix": end} if end else {}
    model = models.BPE(vocabulary, list(merges), unk_token=unknown, **ending)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = before
    ids = [(name, vocabulary[name]) for name in special]
    tokenizer.post_processor = processors.TemplateProcessing(single=template, special_tokens=ids)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=length, **names)
    fast.save_pretrained(str(folder))
    return fast


def _export(module: Any, inputs: dict[str, Any], outputs: list[str], path: Path) -> None:
    import torch

    axes = {name: {0: "batch", 1: "tokens"} for name in inputs if name != "pixel_values"}
    axes |= {"pixel_values": {0: "images"}} if "pixel_values" in inputs else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        module,
        args=tuple(inputs.values()),
        f=str(path),
        input_names=list(inputs),
        output_names=outputs,
        dynamic_axes=axes,
        opset_version=17,
        dynamo=False,
    )


def _wrap(function: Any, **modules: Any) -> Any:
    import torch

    class Wrapped(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name, module in modules.items():
                setattr(self, name, module)

        def forward(self, *inputs: Any) -> Any:
            return function(*inputs)

    return Wrapped().eval()


def clip(out: Path) -> dict[str, Any]:
    """CLIP with both sides apart (as transformers.js has it) and, in another repository, as one graph."""
    import torch
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    folder = out / "clip"
    tokens = _bpe(folder, "clip", 16)
    side = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    special = {"bos_token_id": tokens.bos_token_id, "eos_token_id": tokens.eos_token_id, "pad_token_id": 1}
    config = CLIPConfig(
        text_config=side | special | {"vocab_size": len(tokens), "max_position_embeddings": 16},
        vision_config=side | {"image_size": 32, "patch_size": 8},
        projection_dim=24,
    )
    torch.manual_seed(0)
    model = _stirred(CLIPModel._from_config(config, attn_implementation="eager"))
    processor = CLIPImageProcessor(size={"shortest_edge": 36}, crop_size={"height": 32, "width": 32})
    _keep(folder, model, processor)
    expected = _expected(
        lambda pixels: model.get_image_features(pixel_values=pixels),
        lambda ids, mask: model.get_text_features(input_ids=ids, attention_mask=mask),
        processor,
        tokens(list(TEXTS), padding=True, truncation=True, return_tensors="pt"),
    )
    pixels, ids, mask = torch.zeros(2, 3, 32, 32), torch.ones(2, 7, dtype=torch.long), None
    ids[:, -1] = tokens.eos_token_id
    mask = torch.ones_like(ids)
    vision = _wrap(lambda p: _features(model.get_image_features(pixel_values=p)), model=model)
    text = _wrap(lambda i, m: _features(model.get_text_features(input_ids=i, attention_mask=m)), model=model)
    _export(vision, {"pixel_values": pixels}, ["image_embeds"], folder / "onnx" / "vision_model.onnx")
    _export(
        text,
        {"input_ids": ids, "attention_mask": mask},
        ["text_embeds"],
        folder / "onnx" / "text_model.onnx",
    )
    both = _wrap(lambda i, p, m: _both(model(input_ids=i, pixel_values=p, attention_mask=m)), model=model)
    joined = out / "clip-joined"
    inputs = {"input_ids": ids, "pixel_values": pixels, "attention_mask": mask}
    names = ["logits_per_image", "logits_per_text", "text_embeds", "image_embeds"]
    _export(both, inputs, names, joined / "onnx" / "model.onnx")
    for file in folder.glob("*.json"):
        (joined / file.name).write_bytes(file.read_bytes())
    return expected


def siglip(out: Path) -> dict[str, Any]:
    """SigLIP, whose text side was trained on padding and sees all of it."""
    import torch
    from transformers import SiglipConfig, SiglipImageProcessor, SiglipModel

    folder = out / "siglip"
    tokens = _bpe(folder, "siglip", 16)
    side = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = SiglipConfig(
        text_config=side | {"vocab_size": len(tokens), "max_position_embeddings": 16, "projection_size": 32},
        vision_config=side | {"image_size": 32, "patch_size": 8},
    )
    torch.manual_seed(1)
    model = _stirred(SiglipModel._from_config(config, attn_implementation="eager"))
    processor = SiglipImageProcessor(size={"height": 32, "width": 32}, resample=3)
    _keep(folder, model, processor)
    expected = _expected(
        lambda pixels: model.get_image_features(pixel_values=pixels),
        lambda ids, mask: model.get_text_features(input_ids=ids),
        processor,
        tokens(list(TEXTS), padding="max_length", max_length=16, truncation=True, return_tensors="pt"),
    )
    vision = _wrap(lambda p: tuple(model.vision_model(pixel_values=p, return_dict=False)[:2]), model=model)
    text = _wrap(lambda i: tuple(model.text_model(input_ids=i, return_dict=False)[:2]), model=model)
    outputs = ["last_hidden_state", "pooler_output"]
    pixels, ids = torch.zeros(2, 3, 32, 32), torch.ones(2, 16, dtype=torch.long)
    _export(vision, {"pixel_values": pixels}, outputs, folder / "onnx" / "vision_model.onnx")
    _export(text, {"input_ids": ids}, outputs, folder / "onnx" / "text_model.onnx")
    return expected


def dinov2(out: Path) -> dict[str, Any]:
    """DINOv2: a photo's class token; no words. Its graph gives every token, as the hub's does."""
    import torch
    from transformers import BitImageProcessor, Dinov2Config, Dinov2Model

    folder = out / "dinov2"
    config = Dinov2Config(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=2, mlp_ratio=2, image_size=28, patch_size=7
    )
    torch.manual_seed(2)
    model = _stirred(Dinov2Model._from_config(config, attn_implementation="eager"))
    processor = BitImageProcessor(
        size={"shortest_edge": 40},
        crop_size={"height": 35, "width": 35},
        image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
        resample=3,
    )
    _keep(folder, model, processor)
    expected = _expected(lambda p: model(pixel_values=p).last_hidden_state[:, 0], None, processor, {})
    tokens = _wrap(lambda p: model(pixel_values=p).last_hidden_state, model=model)
    pixels = {"pixel_values": torch.zeros(2, 3, 35, 35)}
    _export(tokens, pixels, ["last_hidden_state"], folder / "onnx" / "model.onnx")
    return expected


def _stirred(model: Any) -> Any:
    """Weights large enough that every part of the network matters."""
    import torch

    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.15 * torch.randn_like(parameter))
    return model.eval()


def _keep(folder: Path, model: Any, processor: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    model.config.save_pretrained(str(folder))
    values = json.loads(processor.to_json_string())
    (folder / "preprocessor_config.json").write_text(json.dumps(values, indent=2) + "\n")


def _both(found: Any) -> Any:
    return found.logits_per_image, found.logits_per_text, found.text_embeds, found.image_embeds


def _features(value: Any) -> Any:
    """Embeddings, which newer versions of transformers return with the rest of the output."""
    return value if not hasattr(value, "pooler_output") else value.pooler_output


def _expected(image: Any, text: Any, processor: Any, tokens: Any) -> dict[str, Any]:
    import torch

    with torch.no_grad():
        pixels = torch.cat([processor(one, return_tensors="pt")["pixel_values"] for one in photos()])
        found = {"images": _features(image(pixels)).numpy()}
        if text is not None:
            found["texts"] = _features(text(tokens["input_ids"], tokens.get("attention_mask"))).numpy()
    return found


def make(out: Path) -> None:
    """Write every repository and the embeddings into a folder."""
    made = {name: build(out) for name, build in (("clip", clip), ("siglip", siglip), ("dinov2", dinov2))}
    np.savez_compressed(
        out / "hub.npz", **{f"{name}.{side}": rows for name, of in made.items() for side, rows in of.items()}
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=HERE)
    make(parser.parse_args().out)
