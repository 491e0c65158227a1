"""The file of a run and the command `export`: the same pictures elsewhere, and what a file says of itself."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import safetensors
import torch
from PIL import Image
from safetensors.torch import load_file, save

from tests.loras import disturb, random_layers, tensors_of, write
from tests.test_lora_real_shapes import model
from tests.tiny import MAKERS
from tests.training import Bench, make_bench
from trainers import catalog
from trainers.adapters import Adapter
from trainers.cli import main
from trainers.config import Adapter as AdapterConfig
from trainers.errors import EXIT_USAGE, AtelierError
from trainers.export import save_adapter
from trainers.families import load_family
from trainers.families.base import ModelFamily, SampleRequest
from trainers.lora.read import read_lora
from trainers.lora.shapes import layer_shapes


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory):
    return cache(lambda family: MAKERS[family](tmp_path_factory.mktemp(family)))


@pytest.fixture
def start(folders, tmp_path: Path):
    """(bench, family with its denoiser, an adapter after some training) of a family."""

    def make(name: str, scope: str = "all", **sections: dict) -> tuple[Bench, ModelFamily, Adapter]:
        bench = make_bench(tmp_path, folders(name), tmp_path, name="my-run", **sections)
        family = load_family(bench.config, bench.runtime)
        for part in ("vae", "text", "denoiser"):
            family.load(part)
        config = AdapterConfig(rank=4, alpha=8.0, kind=bench.config.adapter.kind)
        adapter = Adapter(family.adapted(), config, family.lora_targets(scope), seed=0)
        disturb(adapter, by=0.3)
        return bench, family, adapter

    return make


def facts_in(path: Path) -> dict[str, str]:
    with safetensors.safe_open(path, framework="pt") as file:
        return file.metadata()


PROGRAM = """
import sys, torch
from diffusers import FluxPipeline
pipe = FluxPipeline.from_pretrained(sys.argv[1])
pipe.load_lora_weights(sys.argv[2])
pipe("a red circle", width=64, height=64, num_inference_steps=2, max_sequence_length=512,
     generator=torch.Generator().manual_seed(3)).images[0].save(sys.argv[3])
"""


def test_file_draws_the_same_in_a_fresh_diffusers_process(start, folders, tmp_path: Path) -> None:
    """alpha is twice the rank, so a program that reads no alpha would draw at half strength if it were not baked in."""
    bench, family, adapter = start("flux", save={"dtype": "fp32"})
    save_adapter(tmp_path / "lora.safetensors", adapter, family, bench.config, steps=7, pictures=3)
    out = tmp_path / "theirs.png"
    subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folders("flux")), str(tmp_path / "lora.safetensors"), str(out)],
        check=True,
        capture_output=True,
    )
    cond = family.encode_prompt(["a red circle"])
    mine = family.sample(SampleRequest(cond, (3,), 64, 64, steps=2, guidance=3.5))[0]
    assert np.abs(np.asarray(Image.open(out)).astype(int) - np.asarray(mine).astype(int)).max() <= 1


SAYS = {
    "flux": ("flux1", "networks.lora_flux", "flux-1-dev", "4", None),
    "sd3": ("sd3", "networks.lora_sd3", "stable-diffusion-v3.5", "4", None),
    "sdxl": ("sdxl_base_v1-0", "networks.lora", "stable-diffusion-xl-v1-base", "8", "epsilon"),
    "sd15": ("sd_v1", "networks.lora", "stable-diffusion-v1", "8", "epsilon"),
}


@pytest.mark.parametrize("name", SAYS)
def test_file_says_what_it_is_and_nothing_of_the_machine(name: str, start, tmp_path: Path) -> None:
    """In the layout of the family: kohya's has an alpha of 8, the others' strength is in the weights."""
    bench, family, adapter = start(name, captions={"trigger": "zota"})
    path = tmp_path / "lora.safetensors"
    save_adapter(path, adapter, family, bench.config, steps=7, pictures=3, tags={"cat": 2, "dog": 1}, base_hash="ab12")
    facts, tensors = facts_in(path), load_file(path)
    assert any(key.endswith(".alpha") for key in tensors) == (catalog.FAMILIES[name].layouts[0] == "kohya")
    assert {t.dtype for key, t in tensors.items() if "lora_" in key.rsplit(".", 2)[1]} == {torch.bfloat16}
    version, module, architecture, alpha, prediction = SAYS[name]
    assert facts["ss_base_model_version"] == version and facts["ss_network_module"] == module
    assert (facts["ss_network_dim"], facts["ss_network_alpha"]) == ("4", alpha)
    assert facts["modelspec.sai_model_spec"] == "1.0.1" and facts["modelspec.architecture"].startswith(architecture)
    assert facts.get("modelspec.prediction_type") == prediction
    assert facts["modelspec.trigger_phrase"] == facts["atelier.trigger"] == "zota"
    assert facts["atelier.family"] == name and facts["atelier.steps"] == "7" and facts["ss_sd_model_hash"] == "ab12"
    assert json.loads(facts["ss_tag_frequency"]) == {"my-run": {"cat": 2, "dog": 1}}
    assert facts["modelspec.tags"] == "cat, dog"
    assert len(facts["atelier.config_hash"]) == 16 and "lora_adapter_metadata" not in facts
    assert not any(str(Path.home()) in value or str(tmp_path) in value for value in facts.values())


def test_hashes_are_those_of_sd_scripts(start, tmp_path: Path) -> None:
    """The tensors alone, whatever the metadata; and 64 KiB from 1 MiB on of a file with the ss_ metadata alone."""
    bench, family, adapter = start("flux", "all+ffs", save={"dtype": "fp32"})
    path = tmp_path / "lora.safetensors"
    save_adapter(path, adapter, family, bench.config, steps=7, pictures=3)
    facts, data = facts_in(path), path.read_bytes()
    begin = 8 + int.from_bytes(data[:8], "little")
    assert facts["sshs_model_hash"] == hashlib.sha256(data[begin:]).hexdigest()
    bare = save(load_file(path), metadata={key: value for key, value in facts.items() if key.startswith("ss_")})
    assert facts["sshs_legacy_hash"] == hashlib.sha256(bare[0x100000 : 0x100000 + 0x10000]).hexdigest()[:8]


@pytest.mark.parametrize("wanted", [True, False])
def test_thumbnail_is_a_small_jpeg(wanted: bool, start, tmp_path: Path) -> None:
    bench, family, adapter = start("flux", save={"thumbnail": wanted})
    path, picture = tmp_path / "lora.safetensors", Image.new("RGBA", (1024, 512), "red")
    save_adapter(path, adapter, family, bench.config, steps=7, pictures=3, thumbnail=picture)
    url = facts_in(path).get("modelspec.thumbnail")
    assert bool(url) == wanted
    if url:
        kind, _, data = url.partition(";base64,")
        assert kind == "data:image/jpeg" and Image.open(io.BytesIO(base64.b64decode(data))).size == (256, 128)


def test_layout_of_the_config_is_written(start, tmp_path: Path) -> None:
    bench, family, adapter = start("flux", save={"layout": "kohya"})
    save_adapter(tmp_path / "lora.safetensors", adapter, family, bench.config, steps=7, pictures=3)
    assert "lora_unet_double_blocks_0_img_attn_qkv.alpha" in load_file(tmp_path / "lora.safetensors")


def test_dora_names_itself_as_lycoris_does(start, tmp_path: Path) -> None:
    bench, family, adapter = start("sdxl", adapter={"kind": "dora"})
    save_adapter(tmp_path / "lora.safetensors", adapter, family, bench.config, steps=7, pictures=3)
    facts = facts_in(tmp_path / "lora.safetensors")
    assert facts["ss_network_module"] == "lycoris.kohya"
    assert json.loads(facts["ss_network_args"])["wd_on_output"] == "True"


def test_dora_on_a_part_of_an_original_layer_takes_the_other_lengths_from_the_base(start, tmp_path: Path) -> None:
    """The set "all" of FLUX trains q, k and v of single blocks, which are one layer with proj_mlp in kohya's files."""
    bench, family, adapter = start("flux", adapter={"kind": "dora"}, save={"layout": "kohya"})
    save_adapter(tmp_path / "lora.safetensors", adapter, family, bench.config, steps=7, pictures=3)
    name = "transformer.single_transformer_blocks.0.proj_mlp"
    left_out = read_lora(tmp_path / "lora.safetensors", family.skeleton())[name]
    assert name not in adapter.names() and left_out.delta(adapter.weight(name)).abs().max() < 1e-6


def test_numbers_too_large_for_the_file_are_refused(start, tmp_path: Path) -> None:
    path = tmp_path / "lora.safetensors"
    bench, family, adapter = start("flux", save={"dtype": "fp16"})
    adapter.parameters()[0].data[0, 0] = 1e6
    with pytest.raises(AtelierError, match="not finite"):
        save_adapter(path, adapter, family, bench.config, steps=7, pictures=3)
    assert not path.exists()


# The command


def exported(path: Path, out: Path, *arguments: str) -> int:
    return main(["export", str(path), "--out", str(out), *arguments])


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("flux-dev", "transformer.single_transformer_blocks.3.attn.to_v"),
        ("sd35-large", "transformer.transformer_blocks.3.attn.to_out.0"),
        ("sdxl", "unet.up_blocks.1.attentions.0.transformer_blocks.1.attn2.to_q"),
    ],
)
def test_export_goes_through_every_layout_and_comes_back(name: str, layer: str, tmp_path: Path) -> None:
    """The sizes are those of the model that fits, whatever the file says; nothing is downloaded."""
    skeleton = model(name)
    wanted = random_layers(layer_shapes(skeleton), [layer], rank=2, scale=0.5)
    path = write(tmp_path / "0.safetensors", tensors_of(wanted, skeleton, "kohya"), ss_output_name="theirs")
    for number, layout in enumerate([*reversed(catalog.FAMILIES[catalog.MODELS[name].family].layouts), "kohya"], 1):
        out = tmp_path / f"{number}.safetensors"
        assert exported(path, out, "--layout", layout) == 0
        path = out
    found = read_lora(path, skeleton)
    torch.testing.assert_close(found[layer].delta(), wanted[layer].delta(), rtol=1e-5, atol=1e-6)
    assert facts_in(path)["ss_output_name"] == "theirs"


def test_export_of_a_dora_on_a_part_of_an_original_layer_reads_the_base(
    start, folders, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    bench, family, adapter = start("flux", adapter={"kind": "dora"}, save={"dtype": "fp32", "layout": "diffusers"})
    file, out = tmp_path / "dora.safetensors", tmp_path / "kohya.safetensors"
    save_adapter(file, adapter, family, bench.config, steps=1, pictures=1)
    base = str(folders("flux"))
    assert exported(file, out, "--layout", "kohya", "--base", base, "--dtype", "fp32") == 0
    found = read_lora(out, family.skeleton())
    for name in adapter.names():
        wanted, weight = adapter.delta(name), adapter.weight(name)
        torch.testing.assert_close(found[name].delta(weight), wanted, rtol=1e-2, atol=1e-3)  # lengths were read in bf16


def test_export_of_another_size_asks_for_its_base(folders, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    config = make_bench(tmp_path, folders("sd3"), tmp_path).config
    skeleton = load_family(config, make_bench(tmp_path, folders("sd3"), tmp_path).runtime).skeleton()
    layers = random_layers(layer_shapes(skeleton), ["transformer.transformer_blocks.0.attn.to_q"])
    path, out = tmp_path / "tiny.safetensors", tmp_path / "out.safetensors"
    write(path, tensors_of(layers, skeleton, "kohya"))
    assert exported(path, out, "--layout", "diffusers") == EXIT_USAGE
    assert "another size" in capsys.readouterr().err and not out.exists()
    assert exported(path, out, "--layout", "diffusers", "--base", str(folders("sd3")), "--dtype", "fp16") == 0
    assert load_file(out)["transformer.transformer_blocks.0.attn.to_q.lora_A.weight"].dtype == torch.float16


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--layout", "comfyui"), "no program loads a LoRA for Stable Diffusion XL in the comfyui layout"),
        (("--layout", "diffusers", "--base", "flux-dev"), "is a LoRA for Stable Diffusion XL; the base is FLUX.1"),
    ],
)
def test_export_says_why_it_does_not(arguments, message: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    layers = random_layers(
        layer_shapes(model("sdxl")), ["unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k"]
    )
    path = write(tmp_path / "lora.safetensors", tensors_of(layers, model("sdxl"), "kohya"))
    assert exported(path, tmp_path / "out.safetensors", *arguments) == EXIT_USAGE
    assert message in capsys.readouterr().err
