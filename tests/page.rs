//! The page of a batch, opened in a real browser: sorted, filtered, its slices scrolled, and the hemorrhage seen on the side it is on.

mod support;

use dicom_core::VR;
use dicom_dictionary_std::tags;
use ichor::network::weights::Weights;
use ichor::phantom::ellipsoids as phantom;
use ichor::volume::{Affine, Grid};
use std::path::{Path, PathBuf};
use std::process::Command;
use support::raw_dicom::{RawSeries, field_of};
use support::raw_nifti::{self, Codes};

/// What a user does, and what is then on the page, as one JSON object. The browser prints the page once it is loaded, which it is not before the picture that the
/// first part adds is: nothing waits for a clock.
const DRIVER: &str = r##"
<script>
{
  const names = () => [...document.querySelectorAll("#rows .name")].map((cell) => cell.textContent);
  const seen = { title: document.getElementById("title").textContent, first: names() };
  const head = (text) => [...document.querySelectorAll("#head button")].find((button) => button.textContent === text);
  head("Volume (mL)").click();
  seen.down = names();
  head("Volume (mL)").click();
  seen.up = names();
  const filter = document.getElementById("filter");
  filter.value = "RAS";
  filter.oninput();
  seen.filtered = names();
  const dialogLinks = () => [...document.querySelectorAll("#viewer a")].map((link) => link.textContent);
  document.querySelector("#rows tr").click();
  seen.niftiLinks = dialogLinks();
  const dialog = document.getElementById("viewer"), box = dialog.querySelector(".slice");
  seen.open = dialog.open;
  const position = () => box.style.backgroundPosition;
  const before = position();
  box.dispatchEvent(new WheelEvent("wheel", { deltaY: -1, cancelable: true }));
  seen.wheel = position() !== before;
  dialog.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowDown" }));
  seen.key = position() === before;
  // The picture that is shown: pixels of the outline in the panel, left and right of its middle.
  const shown = box.style.backgroundImage.slice(5, -2);
  seen.embedded = shown.startsWith("data:image/png");
  const image = document.createElement("img");
  image.src = shown;
  document.body.append(image);
  // A DICOM series is found by its description, and its segmentation object is linked to.
  dialog.close();
  filter.value = "soft";
  filter.oninput();
  seen.series = names();
  document.querySelector("#rows tr").click();
  seen.dicomLinks = dialogLinks();
  seen.sentences = dialog.textContent;
  addEventListener("load", () => {
    const layout = scans.find((scan) => scan.name === seen.filtered[0]).layout;
    seen.size = image.naturalWidth === layout.size[0] && image.naturalHeight === layout.size[1];
    const canvas = document.createElement("canvas");
    const [width, height] = layout.panel;
    Object.assign(canvas, { width, height });
    const pen = canvas.getContext("2d");
    const [x, y] = [layout.key % layout.columns * width, layout.top + Math.floor(layout.key / layout.columns) * height];
    pen.drawImage(image, -x, -y);
    const pixels = pen.getImageData(0, 0, width, height).data;
    seen.left = seen.right = 0;
    for (let n = 0; n < width * height; n++) {
      if (pixels[4 * n] === 255 && pixels[4 * n + 1] === 48) seen[n % width < width / 2 ? "left" : "right"]++;
    }
    document.body.replaceChildren(Object.assign(document.createElement("pre"), { id: "seen", textContent: JSON.stringify(seen) }));
  });
}
</script>
"##;

/// A browser: that of ICHOR_BROWSER, or one that is installed.
fn browser() -> Option<PathBuf> {
    let named = std::env::var_os("ICHOR_BROWSER").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = ["chromium", "chromium-browser", "google-chrome", "chrome"]
        .into_iter()
        .flat_map(|name| std::env::split_paths(&path).map(move |folder| folder.join(name)).collect::<Vec<_>>());
    let found = named.into_iter().chain(installed).find(|file| file.is_file());
    if found.is_none() {
        eprintln!("skipped: there is no Chromium or Chrome (install one, or set ICHOR_BROWSER to its file)");
    }
    found
}

/// A folder with scans of one head: stored from left to right, from right to left, as DICOM, and one that is no image.
fn write_scans(folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    for (name, x) in [("head_RAS", 3.0), ("head_LAS", -3.0)] {
        let affine = Affine::new([[x, 0.0, 0.0], [0.0, 3.1, 0.0], [0.0, 0.0, 4.0]], [-33.0 * x, -105.0, -104.0]);
        let phantom = phantom::head_on(Grid { shape: [64, 70, 48], affine });
        raw_nifti::write(&folder.join(format!("{name}.nii")), &phantom.scan, Codes::Both);
        if name == "head_RAS" {
            let heights: Vec<f64> = (0..48).map(|n| -104.0 + 4.0 * f64::from(n)).collect();
            let positions = heights.iter().map(|&z| [-96.0, -110.0, z]).collect();
            let series = RawSeries { columns: 64, rows: 70, spacing: [3.1, 3.0], positions, ..RawSeries::axial(&heights) };
            let series = series.with(tags::SERIES_DESCRIPTION, VR::LO, "<b>soft</b>").with(tags::SERIES_NUMBER, VR::IS, "4");
            series.write(&folder.join("patient"), &field_of(&phantom));
        }
    }
    std::fs::write(folder.join("broken.nii"), b"no image").unwrap();
}

#[test]
fn the_page_of_a_batch_works_in_a_browser() {
    let Some(browser) = browser() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (scans, out) = (folder.path().join("scans"), folder.path().join("out"));
    write_scans(&scans);
    let weights = folder.path().join("hand-set.safetensors");
    Weights::hand_set().write(&weights).unwrap();
    let mut ichor = Command::new(env!("CARGO_BIN_EXE_ichor"));
    let run = ichor.arg("segment").arg(&scans).arg("-o").arg(&out).arg("--weights").arg(&weights).output().unwrap();
    assert_eq!(run.status.code(), Some(1), "{}", String::from_utf8_lossy(&run.stderr));
    let page = std::fs::read_to_string(out.join("ichor.html")).unwrap();
    let driven = out.join("driven.html");
    std::fs::write(&driven, page.replace("</body>", &format!("{DRIVER}</body>"))).unwrap();
    let dump = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--dump-dom"])
        .arg(format!("--user-data-dir={}", folder.path().join("profile").display()))
        .arg(format!("file://{}", driven.display()))
        .output()
        .unwrap();
    let dom = String::from_utf8_lossy(&dump.stdout);
    let seen = dom.split_once("<pre id=\"seen\">").and_then(|(_, rest)| rest.split_once("</pre>")).map(|(seen, _)| seen);
    let seen =
        seen.unwrap_or_else(|| panic!("the page's script did not come to its end: {}", String::from_utf8_lossy(&dump.stderr)));
    let seen: serde_json::Value = serde_json::from_str(seen).unwrap();
    assert_eq!(seen["title"], "ichor: 4 scans, 1 failed");
    assert_eq!(seen["first"][0], "broken", "failures first: {seen}");
    assert_eq!(seen["down"][3], "broken", "no volume is below every volume: {seen}");
    assert_eq!(seen["up"][0], "broken", "{seen}");
    assert_eq!(seen["filtered"], serde_json::json!(["head_RAS"]));
    for works in ["open", "wheel", "key", "embedded", "size"] {
        assert_eq!(seen[works], true, "{works}: {seen}");
    }
    assert_eq!(seen["niftiLinks"], serde_json::json!(["head_RAS_ich.nii.gz", "head_RAS_ich.png", "head_RAS_ich.json"]));
    let endings = ["nii.gz", "dcm", "png", "json"].map(|ending| format!("patient_ich.{ending}"));
    assert_eq!(seen["dicomLinks"], serde_json::json!(endings));
    // The browser writes text with its own escapes: the description is no markup.
    assert_eq!(seen["series"], serde_json::json!(["patientseries 4: &lt;b&gt;soft&lt;/b&gt;"]), "{seen}");
    assert!(seen["sentences"].as_str().unwrap().contains("DICOM series of 48 slices"), "{seen}");
    // The bleed is on the patient's left: the picture's right.
    assert!(seen["right"].as_u64().unwrap() > 50 && seen["left"] == 0, "{seen}");
}
