"""Weights are found, fit or are refused with the reason; reading a file never runs what is in it."""

import json
import pickle
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save as packed
from torch import nn

import mpibridge as mb
from mpibridge import weights
from mpibridge.acquisition import Acquisition
from mpibridge.errors import WeightsError
from mpibridge.model import Grid
from mpibridge.plugin import make_settings
from mpibridge.provenance import PROVENANCE
from mpibridge.weights import FILE_NAME, KEY, Weights, WeightsHeader
from tests import recordings, third_party
from tests.recordings import N_SAMPLES, random_complex

GRID = Grid((6, 5, 1), (24e-3, 20e-3, 1e-3))
WIDTH = 3
HEADER = WeightsHeader(plugin="polish", version="1.0", settings={"width": WIDTH, "regularization": 0.03})


def calibration(**more):
    spectra = random_complex(np.random.default_rng(1), 1, 2, N_SAMPLES // 2 + 1, *GRID.shape)
    return recordings.calibration(spectra, GRID, **more)


ACQUISITION = Acquisition.of(calibration(), GRID)
OTHER = replace(ACQUISITION, amplitudes=(0.02, 0.02))


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch) -> Path:
    """The user's store, empty."""
    folder = tmp_path / "store"
    monkeypatch.setenv("MPIBRIDGE_WEIGHTS", str(folder))
    return folder


@pytest.fixture
def package(tmp_path, monkeypatch) -> Path:
    """The folder of an installed package with the plugin "polish"."""
    third_party.register(monkeypatch, tmp_path / "package")
    return tmp_path / "package" / third_party.MODULE


@pytest.fixture
def polish(package):
    return mb.registry.load("polish")


def network(width: int = WIDTH, seed: int = 0) -> nn.Module:
    """The network of the plugin."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(width, 1, 3, padding=1),
        )


def saved(path: Path, header: WeightsHeader = HEADER, width: int = WIDTH) -> Path:
    return weights.save(path, network(width), header)


def load(path: Path) -> None:
    weights.read(path).load_into(network())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
mappings = st.dictionaries(st.text(), json_values, max_size=4)


@given(
    st.builds(
        WeightsHeader,
        plugin=st.text(),
        version=st.text(),
        settings=mappings,
        preprocessing=mappings,
        acquisition=st.sampled_from([None, ACQUISITION, OTHER]),
        data=mappings,
        training=mappings,
        seed=st.integers(0),
        metrics=st.dictionaries(st.text(), st.floats(allow_nan=False), max_size=3),
        created=st.text(),
    )
)
def test_a_header_survives_its_text(header):
    assert WeightsHeader.from_json(header.to_json()) == header


def test_saved_weights_are_the_weights(tmp_path):
    path = saved(tmp_path / "new" / "folder" / FILE_NAME)
    other = network(seed=1)
    found = weights.read(path.parent)
    assert found == Weights(path, HEADER, "given")
    found.load_into(other)
    for one, same in zip(network().state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(one, same)


def test_a_file_that_ends_early_is_refused(tmp_path):
    path = saved(tmp_path / FILE_NAME)
    whole = path.read_bytes()
    for length in [*range(0, len(whole), 13), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(WeightsError, match="no sound safetensors file") as caught:
            load(path)
        assert str(path) in str(caught.value)
    path.write_bytes(whole)
    load(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=400))
def test_bytes_of_anything_are_refused(tmp_path, content):
    path = tmp_path / FILE_NAME
    path.write_bytes(content)
    with pytest.raises(WeightsError):
        load(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
@given(st.data())
def test_a_changed_byte_of_the_header_is_an_error_of_ours_or_harmless(tmp_path, data):
    path = saved(tmp_path / FILE_NAME, replace(HEADER, acquisition=ACQUISITION))
    content = bytearray(path.read_bytes())
    length = 8 + struct.unpack("<Q", content[:8])[0]
    content[data.draw(st.integers(0, length - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        load(path)
    except WeightsError:
        return


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(data=st.data(), value=json_values)
def test_a_header_with_any_value_is_an_error_of_ours_or_harmless(tmp_path, data, value):
    """Whatever a header says, neither reading nor comparing it fails in another way."""
    header = json.loads(replace(HEADER, acquisition=ACQUISITION).to_json())
    part = data.draw(st.sampled_from([header, header["acquisition"]]))
    part[data.draw(st.sampled_from(sorted(part)))] = value
    path = tmp_path / FILE_NAME
    path.write_bytes(packed(network().state_dict(), {KEY: json.dumps(header)}))
    try:
        found = weights.read(path)
    except WeightsError:
        return
    if found.header.acquisition is not None:
        found.header.acquisition.differences(ACQUISITION)
        assert str(found.header.acquisition)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("not json", "not readable"),
        ("[1, 2]", "not readable"),
        (json.dumps({**json.loads(HEADER.to_json()), "format": 2}), "format 2; this mpibridge reads 1"),
        (json.dumps({**json.loads(HEADER.to_json()), "colour": 2}), "colour"),
        (json.dumps({**json.loads(HEADER.to_json()), "plugin": 2}), "plugin must be a name, found 2"),
        (
            json.dumps({**json.loads(HEADER.to_json()), "settings": [1]}),
            r"settings must be a mapping, found \[1\]",
        ),
        (json.dumps({**json.loads(HEADER.to_json()), "acquisition": {"scanner": "x"}}), "tracer"),
        (
            json.dumps({**json.loads(HEADER.to_json()), "acquisition": "openmpi"}),
            "a mapping, found 'openmpi'",
        ),
        ("[" * 100_000, "not readable"),
    ],
)
def test_a_header_of_another_kind_is_refused(text, said, tmp_path):
    path = tmp_path / FILE_NAME
    path.write_bytes(packed(network().state_dict(), {KEY: text}))
    with pytest.raises(WeightsError, match=said):
        weights.read(path)


def test_weights_of_other_programs_are_refused(tmp_path):
    path = tmp_path / FILE_NAME
    path.write_bytes(packed(network().state_dict(), {"format": "pt"}))
    with pytest.raises(WeightsError, match="no weights of mpibridge, their header is missing"):
        weights.read(path)
    with pytest.raises(WeightsError, match="there are no weights; 'mpibridge weights' lists"):
        weights.read(tmp_path / "nothing")


class Malicious:
    """Creates a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


@pytest.mark.parametrize(
    ("dump", "load"),
    [(torch.save, lambda file: torch.load(file, weights_only=False)), (pickle.dump, pickle.load)],
)
def test_a_pickle_is_refused_and_not_run(dump, load, tmp_path, polish):
    path, marker = tmp_path / FILE_NAME, tmp_path / "it ran"
    with path.open("wb") as file:
        dump({"weights": Malicious(marker)}, file)
    for reading in (lambda: weights.read(path), lambda: weights.find(polish, None, {}, path)):
        with pytest.raises(WeightsError, match="no sound safetensors file"):
            reading()
    with pytest.raises(WeightsError, match="no sound safetensors file"):
        Weights(path, HEADER).load_into(network())
    assert not marker.exists()
    with path.open("rb") as file:
        load(file)
    assert marker.exists(), "the pickle of this test is harmless"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.pop("2.bias"), "'2.bias' is missing"),
        (lambda t: t.update(extra=torch.ones(1)), "the network has no 'extra'"),
        (
            lambda t: t.update({"0.weight": torch.ones(4, 1, 3, 3)}),
            r"0.weight is \(4, 1, 3, 3\), the network needs \(3, 1, 3, 3\)",
        ),
        (lambda t: t["4.bias"].fill_(torch.nan), "4.bias holds values that are not finite; train again"),
        (lambda t: t["4.bias"].fill_(torch.inf), "4.bias holds values that are not finite"),
    ],
)
def test_tensors_that_do_not_fit_are_named(change, said, tmp_path):
    tensors = {name: tensor.clone() for name, tensor in network().state_dict().items()}
    change(tensors)
    path, target = tmp_path / FILE_NAME, network(seed=1)
    path.write_bytes(packed(tensors, {KEY: HEADER.to_json()}))
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    with pytest.raises(WeightsError, match=said):
        weights.read(path).load_into(target)
    assert all(torch.equal(before[name], tensor) for name, tensor in target.state_dict().items())


def test_a_wrong_network_is_told_what_the_weights_are_for(tmp_path):
    path = saved(tmp_path / FILE_NAME, replace(HEADER, acquisition=ACQUISITION))
    with pytest.raises(WeightsError, match=r"6 × 5 × 1 voxels with settings \{.*'width': 3"):
        weights.read(path).load_into(network(5))


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = saved(tmp_path / FILE_NAME)
    before = path.read_bytes()

    def full(self, content):
        self.touch()
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises((OSError, mb.MPIBridgeError), match="no space left"):
        saved(path, replace(HEADER, seed=1))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == [FILE_NAME]


def serving(acquisition: Acquisition | None, **more) -> WeightsHeader:
    return replace(HEADER, acquisition=acquisition, **more)


def test_the_nearest_weights_are_taken(tmp_path, store, package, polish):
    """A path before all; this acquisition before any; the store before the package."""
    candidates = [
        saved(store / "z-any.safetensors", serving(None)),
        saved(package / "weights" / "a-exact.safetensors", serving(ACQUISITION)),
        saved(store / "z-exact.safetensors", serving(ACQUISITION)),
    ]
    saved(store / "a-other.safetensors", serving(OTHER))
    saved(store / "a-stranger.safetensors", serving(ACQUISITION, plugin="another"))
    given = saved(tmp_path / "given.safetensors", serving(None))
    assert weights.find(polish, ACQUISITION, {}, given).path == given
    expected = [
        (candidates[2], "store"),
        (candidates[1], "shipped"),
        (candidates[0], "store"),
    ]
    for path, origin in expected:
        found = weights.find(polish, ACQUISITION, {})
        assert (found.path, found.origin) == (path, origin)
        path.unlink()
    shipped = saved(package / "weights" / "any.safetensors", serving(None))
    assert weights.find(polish, ACQUISITION, {}).path == shipped
    assert weights.find(polish, None, {}).path == shipped


def test_no_match_says_what_is_there_and_how_to_train(store, polish):
    saved(store / "other.safetensors", serving(OTHER))
    saved(store / "wide.safetensors", serving(ACQUISITION, settings={"width": 8}))
    (store / "damaged.safetensors").write_bytes(b"nothing")
    with pytest.raises(WeightsError) as caught:
        weights.find(polish, ACQUISITION, {"width": WIDTH, "regularization": 0.1})
    said = str(caught.value)
    assert f"no weights of plugin 'polish' for {ACQUISITION} in {store}" in said
    assert "other.safetensors (store): trained for amplitudes: 0.02, 0.02 T, not 0.012, 0.012 T" in said
    assert "wide.safetensors (store): width=8, not 3" in said
    assert "damaged.safetensors: no sound safetensors file" in said
    command = "mpibridge train polish --width 3 --regularization 0.1 --data CALIBRATION.mdf --out runs/polish"
    assert command in said
    assert "weights='runs/polish'" in said


def test_a_damaged_file_is_passed_over(store, polish):
    sound = saved(store / "sound.safetensors", serving(ACQUISITION))
    (store / "damaged.safetensors").write_bytes(sound.read_bytes()[:50])
    assert weights.find(polish, ACQUISITION, {}).path == sound
    damaged, good = weights.available("polish")
    assert isinstance(damaged, WeightsError)
    assert "damaged.safetensors" in str(damaged)
    assert good == Weights(sound, serving(ACQUISITION), "store")


def test_weights_of_another_network_are_passed_over(store, polish):
    saved(store / "a.safetensors", serving(ACQUISITION, settings={"width": 8}), width=8)
    narrow = saved(store / "b.safetensors", serving(ACQUISITION))
    assert weights.find(polish, ACQUISITION, {"width": WIDTH}).path == narrow
    assert weights.find(polish, ACQUISITION, {"regularization": 7}).path.name == "a.safetensors"


@pytest.mark.parametrize(
    ("header", "acquisition", "given", "said"),
    [
        (serving(None, plugin="another"), ACQUISITION, {}, "weights of plugin 'another', not of 'polish'"),
        (serving(OTHER), ACQUISITION, {}, "trained for amplitudes: 0.02, 0.02 T, not 0.012, 0.012 T"),
        (serving(ACQUISITION), None, {}, "the header of the scan tells no sequence"),
        (serving(None), ACQUISITION, {"width": 8}, "does not fit: width=3, not 8"),
    ],
)
def test_given_weights_must_fit(header, acquisition, given, said, tmp_path, polish):
    path = saved(tmp_path / FILE_NAME, header)
    with pytest.raises(WeightsError, match=said):
        weights.find(polish, acquisition, given, path)


def test_installed_weights_are_found(tmp_path, store, polish):
    path = saved(tmp_path / FILE_NAME, serving(ACQUISITION))
    with pytest.raises(WeightsError, match="there are no weights"):
        weights.find(polish, ACQUISITION, {})
    target = weights.install(tmp_path)
    assert target.parent == store
    assert target.name.startswith(f"polish-{ACQUISITION.fingerprint}-")
    assert target.read_bytes() == path.read_bytes()
    assert weights.find(polish, ACQUISITION, {}).path == target
    wide = weights.install(saved(path, serving(ACQUISITION, settings={"width": 8}), width=8))
    anywhere = weights.install(saved(path, serving(None)))
    assert anywhere.name.startswith("polish-any-")
    again = weights.install(
        saved(path, serving(ACQUISITION, seed=7))
    )  # other weights for the same take no one's place
    assert {p.name for p in store.iterdir()} == {target.name, wide.name, anywhere.name, again.name}
    assert len(list(store.iterdir())) == 4


def test_the_latest_weights_of_several_are_taken_and_damaged_ones_passed_over(store, polish):
    saved(store / "a.safetensors", serving(ACQUISITION, created="2026-01-01T00:00:00"))
    latest = saved(store / "b.safetensors", serving(ACQUISITION, created="2026-02-01T00:00:00"))
    assert weights.find(polish, ACQUISITION, {}).path == latest
    network = torch.nn.Linear(1, 1)
    torch.nn.init.constant_(network.weight, torch.nan)
    weights.save(store / "c.safetensors", network, serving(ACQUISITION, created="2026-03-01T00:00:00"))
    assert weights.find(polish, ACQUISITION, {}).path == latest


@pytest.mark.parametrize("name", ["../outside", "a/b", "/absolute", "..", ".hidden"])
def test_nothing_is_installed_outside_the_store(name, tmp_path, store):
    """The name of the file comes from a header that anybody may have written."""
    name = name.replace("/absolute", str(tmp_path / "absolute"))
    target = weights.install(saved(tmp_path / "given" / FILE_NAME, serving(None, plugin=name)))
    assert target.parent == store
    assert [path.name for path in store.iterdir()] == [target.name]
    assert not target.name.startswith(".")


def test_the_network_of_the_weights_is_built(tmp_path, polish):
    stored = weights.read(
        saved(tmp_path / FILE_NAME, serving(None, settings={"width": 3, "regularization": 9}))
    )
    assert weights.with_network(polish, {"regularization": 0.1}, stored) == {
        "width": 3,
        "regularization": 0.1,
    }
    assert weights.with_network(polish, {}, stored) == {"width": 3, "regularization": 9}


def test_settings_of_training_that_nobody_can_have_stay_an_error(polish):
    """Only a contradiction to the user makes them give way."""
    stored = Weights(Path("w"), serving(None, settings={"width": 3, "regularization": -1.0}))
    with pytest.raises(mb.SettingsError, match="regularization above 0"):
        make_settings(polish, weights.with_network(polish, {"width": 3}, stored))


def test_an_image_says_which_weights_made_it(store, polish):
    matrix = calibration()
    signal = np.random.default_rng(0).standard_normal((2, 1, 2, N_SAMPLES)).astype(np.float32)
    scan = recordings.scan(signal)
    with pytest.raises(WeightsError, match="mpibridge train polish"):
        mb.reconstruct(scan, plugin="polish", system_matrix=matrix)
    path = saved(store / "mine.safetensors", serving(ACQUISITION))
    image = mb.reconstruct(scan, plugin="polish", system_matrix=matrix)
    said = json.loads(image.attrs[f"{PROVENANCE}/weights"])
    assert said["name"] == "mine.safetensors"
    assert said["origin"] == "store"
    assert json.loads(image.attrs[f"{PROVENANCE}/settings"])["width"] == WIDTH
    again = mb.reconstruct(scan, plugin="polish", system_matrix=matrix, weights=path, width=WIDTH)
    np.testing.assert_array_equal(again.concentration, image.concentration)
    assert json.loads(again.attrs[f"{PROVENANCE}/weights"])["origin"] == "given"
    assert json.loads(again.attrs[f"{PROVENANCE}/weights"])["sha256"] == said["sha256"]


def test_methods_without_training_take_no_weights(tmp_path):
    scan = recordings.scan(np.zeros((1, 1, 2, N_SAMPLES)))
    with pytest.raises(mb.SettingsError, match="'kaczmarz' is not trained and takes no weights"):
        mb.reconstruct(scan, system_matrix=calibration(), weights=tmp_path)


def test_weights_bring_their_preprocessing(store, polish):
    """What they were trained with is what a scan goes through, unless the caller says otherwise."""
    preprocessing = mb.Preprocessing(min_frequency=3e5)
    saved(store / "mine.safetensors", serving(ACQUISITION, preprocessing=preprocessing.plain()))
    signal = np.random.default_rng(0).standard_normal((1, 1, 2, N_SAMPLES)).astype(np.float32)
    scan, matrix = recordings.scan(signal), calibration()

    def rows(**more):
        image = mb.reconstruct(scan, plugin="polish", system_matrix=matrix, **more)
        return image.attrs[f"{PROVENANCE}/rows"]

    assert rows() == rows(preprocessing=preprocessing) == rows(preprocessing=mb.Preprocessing(averages=1))
    with pytest.warns(mb.MPIBridgeWarning, match=r"min_frequency=100000.0, not 300000.0"):
        assert rows() < rows(preprocessing=mb.Preprocessing(min_frequency=1e5))


def test_a_choice_is_completed_by_what_the_weights_were_trained_with():
    trained = mb.Preprocessing(min_frequency=3e5, snr_threshold=3, background="mean", grid=(1, 8, 8))
    header = serving(ACQUISITION, preprocessing=trained.plain())
    both = weights.with_preprocessing(mb.Preprocessing(averages=2, background="interpolate"), header)
    assert both == replace(trained, averages=2, background="interpolate")  # and nothing is warned of
    with pytest.warns(mb.MPIBridgeWarning, match="snr_threshold=5, not 3"):
        weights.with_preprocessing(mb.Preprocessing(snr_threshold=5), header)
    anybody = serving(None, preprocessing=trained.plain())
    assert weights.with_preprocessing(mb.Preprocessing(snr_threshold=5), anybody) == replace(
        trained, snr_threshold=5, grid=None
    )
