"""The page of a comparison: what it holds, and what it does in a browser."""

import base64
import json
import re
import shutil

import numpy as np
import pytest
import xarray as xr

import mpibridge as mb
from mpibridge.errors import MDFError, MPIBridgeWarning
from mpibridge.model import IMAGE_DIMS, Grid

PLANE = Grid((9, 6, 1), (18e-3, 18e-3, 1e-3), (1e-3, 0.0, 0.0))  # voxels of 2 × 3 mm
VOLUME = Grid((7, 6, 5), (14e-3, 12e-3, 15e-3))
EVIL = '</script><img src=x onerror="document.title=1"> {{data}}'


def picture(seed, grid=PLANE, n_frames=3, **attrs):
    values = np.random.default_rng(seed).random((n_frames, *grid.shape), np.float32)
    variables = {"concentration": (IMAGE_DIMS, values, {"units": "1"})}
    coordinates = {**grid.coordinates(), "time": ("frame", 0.25 * np.arange(n_frames))}
    return xr.Dataset(variables, coordinates, {"kind": "reconstruction", **grid.attributes(), **attrs})


def content(path):
    """What the script of a page is given."""
    (text,) = re.findall(
        r'<script id="data" type="application/json">(.*?)</script>', path.read_text("utf-8"), re.S
    )
    return json.loads(text)


def array(image):
    return np.frombuffer(base64.b64decode(image["data"]), "<f4").reshape(image["shape"])


def test_the_page_holds_the_images_and_what_is_known_about_them(tmp_path):
    made = {
        "/reconstruction/_mpibridge/plugin": "kaczmarz",
        "/scanner/name": "preclinical",
        "source": "/a/b/one.mdf",
    }
    one, truth = picture(1, **made), picture(2, n_frames=1)
    found = mb.compare({"one": one}, reference=truth, scale="least_squares")
    assert found.to_html(tmp_path / "report.html", title="A < B") == tmp_path / "report.html"
    held = content(tmp_path / "report.html")
    assert [image["name"] for image in held["images"]] == ["reference", "one"]
    np.testing.assert_array_equal(array(held["images"][0])[0], truth.concentration)
    np.testing.assert_allclose(
        array(held["images"][1])[0], found.factors["one"] * one.concentration, rtol=1e-6
    )
    assert held["images"][1]["axes"]["x"] == pytest.approx([-7, 2])
    assert held["images"][1]["axes"]["y"] == pytest.approx([-7.5, 3])
    assert held["images"][1]["axes"]["z"] == pytest.approx([0, 1])
    assert held["images"][1]["seconds"] == [0, 0.25, 0.5]
    assert ["plugin", "kaczmarz"] in held["images"][1]["made"]
    assert ["file", "one.mdf"] in held["images"][1]["made"]
    assert held["images"][1]["header"] == [["/scanner/name", "preclinical"]]
    assert held["table"]["rows"][0][1]["value"] == pytest.approx(found.table["NRMSE"]["one"])
    assert held["notes"] == list(found.notes)
    assert "<title>A &lt; B</title>" in (tmp_path / "report.html").read_text("utf-8")


def test_images_compared_voxel_by_voxel_lie_on_each_other(tmp_path):
    image = picture(1)
    images = {"image": image, "moved": image.assign_coords(x=image.x + 1e-3)}
    mb.compare(images).to_html(tmp_path / "report.html")
    assert "other places" in content(tmp_path / "report.html")["images"][1]["difference"]
    mb.compare(images, align="voxels").to_html(tmp_path / "report.html")
    first, moved = content(tmp_path / "report.html")["images"]
    assert moved["difference"] == ""
    assert moved["axes"] == first["axes"]


def test_axes_that_run_backwards_are_turned(tmp_path):
    image = picture(1)
    mb.compare({"image": image.isel(x=slice(None, None, -1))}).to_html(tmp_path / "report.html")
    (held,) = content(tmp_path / "report.html")["images"]
    np.testing.assert_array_equal(array(held)[0], image.concentration)
    assert held["axes"]["x"] == pytest.approx([-7, 2])


def test_the_page_needs_no_network(tmp_path):
    mb.compare({"one": picture(1)}).to_html(tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text("utf-8")
    assert not re.search(r"https?://|@import|url\(", text)
    assert re.findall(r'(?:src|href)="([^"]*)"', text) == ["data:,"]
    assert "default-src 'none'" in text


def test_more_than_the_page_may_hold_is_thinned_with_a_warning(tmp_path):
    images = {"long": picture(1, n_frames=100), "truth": picture(2, n_frames=1)}
    found = mb.compare(images)
    with pytest.warns(MPIBridgeWarning, match=r"holds 10 of 100 frames"):
        found.to_html(tmp_path / "report.html", max_megabytes=(11 * PLANE.n_voxels + 5) * 16 / 3 / 1e6)
    held = content(tmp_path / "report.html")
    long, truth = held["images"]
    assert long["frames"] == [0, 11, 22, 33, 44, 55, 66, 77, 88, 99]
    assert long["seconds"][1] == 2.75
    np.testing.assert_array_equal(array(long)[0, 1], images["long"].concentration[11])
    assert truth["frames"] == [0]
    assert held["notes"][-1].startswith("The page holds 10 of 100 frames")


def test_the_file_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    found = mb.compare({"one": picture(1)})
    path = tmp_path / "report.html"
    path.write_text("before")
    for name, message in (("report.txt", "ends in '.txt'"), ("no/report.html", "does not exist")):
        with pytest.raises(MDFError, match=message):
            found.to_html(tmp_path / name)
    monkeypatch.setattr(
        "mpibridge.targets.os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full"))
    )
    with pytest.raises(MDFError, match="disk full"):
        found.to_html(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]
    assert path.read_text() == "before"


# ---- in a browser


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("there is no Chromium to open the report in")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def show(browser, tmp_path):
    """Opens the page of a comparison at 1280 × 800; at the end nobody may have complained."""
    complaints, pages = [], []

    def show(comparison, **options):
        path = comparison.to_html(tmp_path / "report.html", **options)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        pages.append(page)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request",
            lambda request: complaints.append(request.url) if "report.html" not in request.url else None,
        )
        page.goto(path.as_uri())
        settle(page)
        return page

    yield show
    for page in pages:
        page.close()
    assert complaints == []


def settle(page):
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def pixels(page, index=0):
    return page.locator("figure canvas").nth(index).evaluate("canvas => canvas.toDataURL()")


def slide(page, name, value):
    page.locator(f"#{name}").fill(str(value))
    settle(page)


def hover(page, index, across, down):
    """The place in mm that the page names for a point of a canvas, by fractions of its size."""
    box = page.locator("figure canvas").nth(index).bounding_box()
    page.mouse.move(box["x"] + across * box["width"], box["y"] + down * box["height"])
    settle(page)
    text = page.locator("#place").text_content().replace("−", "-")
    return {dim: float(value) for dim, value in re.findall(r"([xyz]) = (-?[\d.]+) mm", text)}


def value(text):
    return float(text.replace("−", "-"))


def at(image, place, **chosen):
    mm = {dim: 1e-3 * v for dim, v in place.items()}
    return float(image.concentration.isel(**chosen).sel(mm, method="nearest"))


def test_values_under_the_pointer_are_those_of_the_image(show):
    images, truth = {"one": picture(1), "two": picture(2)}, picture(3, n_frames=1)
    page = show(mb.compare(images, reference=truth))
    slide(page, "frame", 2)
    assert page.locator("#frame-text").text_content() == "2 (0.5 s)"
    places = set()
    for across, down in ((0.31, 0.22), (0.5, 0.41), (0.77, 0.63)):
        place = hover(page, 1, across, down)
        places.add(tuple(place.values()))
        shown = page.locator("figure > figcaption .value").all_text_contents()
        expected = at(truth, place, frame=0), *(at(image, place, frame=2) for image in images.values())
        reference, one, one_less, two, two_less = map(value, shown)
        assert (reference, one, two) == pytest.approx(expected, abs=6e-5)
        assert (one_less, two_less) == pytest.approx((one - reference, two - reference), abs=2e-4)
    assert len(places) == 3
    page.mouse.move(5, 400)
    settle(page)
    assert "Move over" in page.locator("#place").text_content()


def test_y_points_up_and_voxels_have_their_shape(show):
    image = picture(1)
    image["concentration"][:] = 0
    image["concentration"][:, 0, -1, 0] = 1  # x = −7 mm, y = 7.5 mm
    page = show(mb.compare({"one": image}))
    bright = page.locator("figure canvas").first.evaluate(
        """canvas => {
          const g = canvas.getContext("2d"), { data, width, height } = g.getImageData(0, 0, canvas.width, canvas.height);
          let [left, right, top, bottom] = [width, 0, height, 0];
          for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {
            const i = 4 * (y * width + x);
            if (data[i] > 240 && data[i + 1] > 240 && data[i + 2] < 180 && data[i + 2] > 150) {
              left = Math.min(left, x); right = Math.max(right, x); top = Math.min(top, y); bottom = Math.max(bottom, y);
            }
          }
          return [left / width, (right + 1 - left) / (bottom + 1 - top), top / height];
        }"""
    )
    left, shape, top = bright
    assert left < 0.15  # beside the axis, under the upper edge
    assert top < 0.05
    assert shape == pytest.approx(2 / 3, rel=0.1)


def test_frames_change_the_pixels_of_series_only(show):
    page = show(mb.compare({"one": picture(1)}, reference=picture(3, n_frames=1)))
    reference, one, difference = (pixels(page, i) for i in range(3))
    page.locator("#frame").focus()
    page.keyboard.press("ArrowRight")
    settle(page)
    assert pixels(page, 0) == reference
    assert pixels(page, 1) != one
    assert pixels(page, 2) != difference
    page.keyboard.press("ArrowLeft")
    settle(page)
    assert pixels(page, 1) == one


def test_colour_window_differences_and_missing_controls(show):
    page = show(mb.compare({"one": picture(1, n_frames=1)}, reference=picture(3, n_frames=1)))
    before = [pixels(page, i) for i in range(3)]
    bar = page.locator("#bar").evaluate("canvas => canvas.toDataURL()")
    slide(page, "maximum", 40)
    after = [pixels(page, i) for i in range(3)]
    assert [a == b for a, b in zip(before, after, strict=True)] == [False, False, True]
    assert page.locator("#bar").evaluate("canvas => canvas.toDataURL()") != bar
    slide(page, "difference", 40)
    assert pixels(page, 2) != after[2]
    page.locator("#differences").uncheck()
    settle(page)
    assert not page.locator("figure canvas").nth(2).is_visible()
    for name in ("frame", "slice", "plane", "contrast"):
        assert not page.locator(f"#{name}").is_visible()


def test_slices_and_planes_of_a_volume(show):
    image = picture(1, VOLUME, n_frames=2)
    page = show(mb.compare({"one": image, "two": picture(2, VOLUME, n_frames=2)}))
    first = pixels(page)
    slide(page, "slice", 4)
    assert pixels(page) != first
    assert page.locator("#slice-text").text_content() == "6.00 mm"
    place = hover(page, 0, 0.4, 0.3)
    assert place["z"] == 6
    shown = page.locator("figure > figcaption .value").first
    assert value(shown.text_content()) == pytest.approx(at(image, place, frame=0), abs=6e-5)
    page.locator("#plane").select_option("xz")
    settle(page)
    assert page.locator("#slice-axis").text_content() == "y"
    slide(page, "slice", 1)
    place = hover(page, 0, 0.62, 0.21)
    assert place["y"] == -3
    assert place["z"] > 0
    assert value(shown.text_content()) == pytest.approx(at(image, place, frame=0), abs=6e-5)


def chart(page):
    return page.locator("#chart").evaluate("canvas => canvas.toDataURL()")


def line(page):
    return [float(page.locator("#ends input").nth(i).input_value()) for i in range(4)]


def test_the_profile_follows_its_ends(show):
    image = picture(1)
    page = show(mb.compare({"one": image, "two": picture(2)}))
    before, curve, panels = line(page), chart(page), [pixels(page, i) for i in range(3)]
    box = page.locator("figure canvas").nth(1).bounding_box()
    width = page.locator("figure canvas").nth(1).evaluate("c => c.clientWidth")
    # The place of the white end on the canvas, from two places that the page names.
    (xa, xb), (ya, yb) = [[hover(page, 1, *p)[dim] for p in ((0.3, 0.3), (0.7, 0.6))] for dim in ("x", "y")]
    x = (0.3 + 0.4 * (before[0] - xa) / (xb - xa)) * width
    y = (0.3 + 0.3 * (before[1] - ya) / (yb - ya)) * box["height"]
    page.mouse.move(box["x"] + x, box["y"] + y)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.5 * width, box["y"] + 0.3 * box["height"], steps=4)
    page.mouse.up()
    page.mouse.move(5, 790)
    settle(page)
    after = line(page)
    assert after[0] == pytest.approx((xa + xb) / 2, abs=0.1)
    assert after[1] == pytest.approx(ya, abs=0.1)
    assert after[2:] == before[2:]
    assert chart(page) != curve
    assert all(pixels(page, i) != panels[i] for i in range(3))  # the same line in every image


def test_typed_ends_and_values_of_the_profile(show):
    image = picture(1)
    page = show(mb.compare({"one": image}))
    for i, text in enumerate(("-5.4", "1.5", "6.6", "-4.5")):
        page.locator("#ends input").nth(i).fill(text)
        page.locator("#ends input").nth(i).press("Enter")
    page.locator("h1").click()
    settle(page)
    assert line(page) == [-5.4, 1.5, 6.6, -4.5]
    page.locator("#chart").scroll_into_view_if_needed()
    box = page.locator("#chart").bounding_box()
    page.mouse.move(box["x"] + 52 + (box["width"] - 64) / 4, box["y"] + 100)
    settle(page)
    expected = float(image.concentration.isel(frame=0, z=0).interp(x=-2.4e-3, y=0.0))
    assert value(page.locator("#legend .value").text_content()) == pytest.approx(expected, abs=5e-3)
    curve = chart(page)
    page.locator("#legend input").uncheck()
    page.mouse.move(5, 5)
    settle(page)
    assert chart(page) != curve
    page.locator("figure canvas").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowUp")
    settle(page)
    assert line(page) == [-3.4, 1.5, 6.6, -1.5]


def test_the_table_sorts(show):
    images = {name: picture(seed) * (1 + seed) for seed, name in enumerate(("b", "c", "a"), 1)}
    images["far"] = picture(9, VOLUME, n_frames=3)
    page = show(mb.compare(images, reference=picture(0, n_frames=1)))

    def names():
        return page.locator("#table tbody td:first-child").all_text_contents()

    assert names() == ["b", "c", "a", "far"]
    page.get_by_role("button", name="image").click()
    assert names() == ["a", "b", "c", "far"]
    page.get_by_role("button", name="NRMSE").click()
    assert names() == ["b", "c", "a", "far"]
    page.keyboard.press("Enter")  # the focus stays
    assert names() == ["a", "c", "b", "far"]  # what has no number stands last
    assert page.locator("th[aria-sort]").get_attribute("aria-sort") == "descending"
    assert "No difference map" in page.locator("figure .why").text_content()


def test_names_are_text(show):
    made = {"/reconstruction/_mpibridge/plugin": EVIL, "/scanner/name": EVIL}
    page = show(mb.compare({EVIL: picture(1, **made)}), title=EVIL)
    assert page.title() == EVIL
    assert page.locator("h1").text_content() == EVIL
    assert page.locator("figure .name").text_content() == EVIL
    assert page.locator("img").count() == 0
    page.locator("#provenance summary").first.click()
    assert EVIL in page.locator("#provenance .facts").first.text_content()


@pytest.mark.parametrize("n", [1, 2, 12])
def test_any_number_of_images_fits_the_window(show, n):
    page = show(mb.compare({f"image {i}": picture(i) for i in range(n)}))
    assert page.locator("figure").count() == n
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert all(
        width >= 180 for width in page.locator("figure").evaluate_all("all => all.map(f => f.clientWidth)")
    )


def test_contrasts_and_images_without_places(show):
    both = xr.concat([picture(1), picture(2)], "contrast", combine_attrs="override")
    bare = both.drop_vars(["x", "y", "z"])
    page = show(mb.compare({"both": both.isel(frame=[0])}))
    first = pixels(page)
    page.locator("#contrast").select_option("1")
    settle(page)
    assert pixels(page) != first
    page = show(mb.compare({"bare": bare["concentration"].drop_attrs()}))
    assert "Unit of the values not stated" in page.locator("#footer").text_content()
    assert "voxel" in page.locator("#ends").text_content()
    assert "voxel" in hover_text(page)


def hover_text(page):
    hover(page, 0, 0.5, 0.5)
    return page.locator("#place").text_content()
