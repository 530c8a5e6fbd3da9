"""--ids and --dump-logits on the golden models: what anyone who checks imp against another implementation uses."""

import numpy as np
import pytest

from conftest import ROOT, answer

GOLDENS = sorted(path.parent for path in (ROOT / "tests/oracle/golden").glob("*/tokens.bin"))


@pytest.mark.parametrize("directory", GOLDENS, ids=lambda path: path.name)
@pytest.mark.parametrize("form", ["", "model.gguf"], ids=["safetensors", "gguf"])
@pytest.mark.parametrize("chunk", [512, 7])
def test_dumped_logits_are_those_of_transformers(tmp_path, directory, form, chunk):
    dump = tmp_path / "logits.bin"
    answer("--model", directory / form, "--ids", directory / "tokens.bin", "--dump-logits", dump,
           "--prefill-chunk-size", chunk)
    expected = np.fromfile(directory / "logits.bin", "<f4")
    logits = np.fromfile(dump, "<f4")
    assert logits.shape == expected.shape
    assert np.abs(logits - expected).max() <= 1e-4 * (expected.max() - expected.min())
