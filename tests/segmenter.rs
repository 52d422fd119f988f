//! The front door: [`ichor::Segmenter`] against the command line, and [`ichor::Engine`] on every device.

mod support;

use ichor::network::Description;
use ichor::network::weights::generate;
use ichor::phantom::ellipsoids as phantom;
use ichor::scan::template;
use ichor::volume::{Affine, resample};
use ichor::{Device, Engine, Grid, Options, Scan, Segmenter, Volume, Weights};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::raw_dicom::{RawSeries, field_of};

/// A folder with weights, a coarse template and a scan, whose bleed is on the patient's left.
struct Inputs {
    folder: tempfile::TempDir,
}

impl Inputs {
    fn new() -> Inputs {
        let folder = tempfile::tempdir().unwrap();
        let inputs = Inputs { folder };
        Weights::hand_set().write(inputs.path("weights.safetensors")).unwrap();
        let fine = template::built_in();
        let thrice = Affine::new([[3.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 3.0]], [1.0; 3]);
        let grid = Grid { shape: fine.grid().shape.map(|side| side / 3), affine: fine.grid().affine.after(&thrice) };
        inputs.write("template.nii", &resample::linear(&fine, &grid, &Affine::IDENTITY, 0.0).unwrap());
        inputs.write("ct.nii.gz", &head().scan);
        inputs
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, volume: &Volume<f32>) {
        let header = ichor::io::nifti::Header::for_grid(volume.grid()).unwrap();
        ichor::io::nifti::write(self.path(name), volume, &header).unwrap();
    }

    fn segmenter(&self, options: Options) -> Segmenter {
        let builder = Segmenter::builder().weights(self.path("weights.safetensors")).template(self.path("template.nii"));
        builder.device(Device::Cpu).threads(2).options(options).build().unwrap()
    }
}

/// The phantom on a coarse grid with x to the left, as scanners store it.
fn head() -> phantom::Phantom {
    let matrix = [[-3.0, 0.0, 0.0], [0.0, 3.125, 0.0], [0.0, 0.0, 4.0]];
    phantom::head_on(Grid { shape: [64, 70, 48], affine: Affine::new(matrix, [99.0, -105.0, -104.0]) })
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The middle of a mask in RAS mm.
fn middle(mask: &Volume<bool>) -> [f64; 3] {
    let [ni, nj, _] = mask.grid().shape;
    let (mut sum, mut count) = ([0.0; 3], 0.0);
    for (n, _) in mask.voxels().iter().enumerate().filter(|(_, inside)| **inside) {
        let at = mask.grid().affine.apply([n % ni, n / ni % nj, n / (ni * nj)].map(|index| index as f64));
        (0..3).for_each(|axis| sum[axis] += at[axis]);
        count += 1.0;
    }
    sum.map(|x| x / count)
}

#[test]
fn results_are_those_of_the_command_line() {
    let inputs = Inputs::new();
    let mut segmenter = inputs.segmenter(Options::default());
    let found = segmenter.segment(&Scan::open(inputs.path("ct.nii.gz")).unwrap()).unwrap();
    found.save(inputs.path("linked/ct")).unwrap();
    let command = Command::new(env!("CARGO_BIN_EXE_ichor"))
        .args(["segment", "--device", "cpu", "--threads", "1"])
        .arg(inputs.path("ct.nii.gz"))
        .arg("--weights")
        .arg(inputs.path("weights.safetensors"))
        .arg("--template")
        .arg(inputs.path("template.nii"))
        .arg("-o")
        .arg(inputs.path("typed"))
        .output()
        .unwrap();
    assert!(command.status.success(), "{}", String::from_utf8_lossy(&command.stderr));
    for name in ["ct_ich.nii.gz", "ct_ich.png"] {
        let [linked, typed] = ["linked", "typed"].map(|folder| fs::read(inputs.path(folder).join(name)).unwrap());
        assert!(linked == typed, "{name}");
    }
    assert_eq!(names(&inputs.path("linked")), ["ct_ich.json", "ct_ich.nii.gz", "ct_ich.png"]);
    let report = found.report();
    let typed: serde_json::Value = serde_json::from_slice(&fs::read(inputs.path("typed/ct_ich.json")).unwrap()).unwrap();
    assert_eq!(typed["volume_ml"].as_f64().unwrap(), report.volume_ml);
    assert_eq!(typed["weights"]["sha256"], report.weights.sha256);
    assert_eq!(typed["source"]["sha256"], report.source.unwrap().sha256);
    // The command finds the library's results, and knows them for its own.
    let again = Command::new(env!("CARGO_BIN_EXE_ichor")).arg("table").arg(inputs.path("linked")).output().unwrap();
    assert!(again.status.success());
    assert!(fs::read_to_string(inputs.path("linked/ichor.csv")).unwrap().contains("ct"));
}

#[test]
fn a_bleed_on_the_left_stays_on_the_left() {
    let inputs = Inputs::new();
    let head = head();
    let found = inputs.segmenter(Options::default()).segment(&Scan::open(inputs.path("ct.nii.gz")).unwrap()).unwrap();
    let [truth, seen] = [&head.bleed, found.mask()].map(middle);
    assert!(truth[0].abs() > 15.0, "the phantom's bleed lies on one side");
    assert!((0..3).all(|axis| (truth[axis] - seen[axis]).abs() < 4.0), "{seen:?} for {truth:?}");
    assert_eq!(found.mask().grid(), head.scan.grid());
    let side = if truth[0] < 0.0 { "left" } else { "right" };
    assert_eq!(found.components()[0].side.to_string(), side);
    assert!((found.volume_ml() - found.report().volume_ml).abs() < 1e-12);
}

#[test]
fn halves_in_two_threads_give_what_the_whole_gives() {
    let inputs = Inputs::new();
    let scan = Scan::open(inputs.path("ct.nii.gz")).unwrap();
    let options = Options { threshold: Some(0.7), probability: true, ..Options::default() };
    let mut segmenter = inputs.segmenter(options);
    let whole = segmenter.segment(&scan).unwrap();
    let preparer = segmenter.preparer();
    let in_a_thread = preparer.clone();
    let of_thread = scan.clone();
    let prepared = std::thread::spawn(move || in_a_thread.prepare(&of_thread)).join().unwrap().unwrap();
    // Another segmenter has other options: a scan keeps those that it was prepared with.
    let other = inputs.segmenter(Options::default()).find(prepared).unwrap();
    assert_eq!(whole.mask().voxels(), other.mask().voxels());
    assert_eq!(other.segmentation().threshold, 0.7);
    assert_eq!(other.report().threshold, 0.7);
    assert_eq!(other.segmentation().probability.as_ref().unwrap().grid(), whole.mask().grid());
    // Weights that are loaded already are shared.
    let builder = Segmenter::builder().loaded_weights(segmenter.weights()).template(inputs.path("template.nii"));
    let options = Options { threshold: Some(0.7), ..Options::default() };
    let sharing = builder.device(Device::Cpu).threads(1).options(options).build().unwrap().segment(&scan).unwrap();
    assert_eq!(whole.mask().voxels(), sharing.mask().voxels());
    // The report would name weights that did not make the result.
    let prepared = preparer.prepare(&scan).unwrap();
    let mut built_in = Segmenter::builder().device(Device::Cpu).build().unwrap();
    let refused = built_in.find(prepared).unwrap_err().to_string();
    assert!(refused.contains("prepared for the weights weights, not for built-in"), "{refused}");
}

#[test]
fn a_series_is_saved_with_its_segmentation() {
    let inputs = Inputs::new();
    let folder = inputs.path("series");
    RawSeries::axial(&(0..40).map(|n| -80.0 + 4.0 * f64::from(n)).collect::<Vec<_>>()).write(&folder, &field_of(&head()));
    let scan = Scan::open(&folder).unwrap();
    assert_eq!(scan.name(), "series");
    let found = inputs.segmenter(Options { keep_doubtful: true, ..Options::default() }).segment(&scan).unwrap();
    found.save(inputs.path("results/series")).unwrap();
    assert_eq!(names(&inputs.path("results")), ["series_ich.dcm", "series_ich.json", "series_ich.nii.gz", "series_ich.png"]);
    assert!(Scan::open_series(&folder, "77").unwrap_err().to_string().contains("77"));
}

#[test]
fn a_volume_in_memory_is_a_scan() {
    let inputs = Inputs::new();
    let mut segmenter = inputs.segmenter(Options::default());
    let from_file = segmenter.segment(&Scan::open(inputs.path("ct.nii.gz")).unwrap()).unwrap();
    let scan = Scan::from_volume("memory", head().scan).unwrap();
    let found = segmenter.segment(&scan).unwrap();
    assert_eq!(found.mask().voxels(), from_file.mask().voxels());
    let save = |found: &ichor::Finding, name: &str| found.save(inputs.path("results").join(name));
    save(&found, "memory").unwrap();
    // Again: it is the same.
    save(&found, "memory").unwrap();
    // Another volume, and a file, under the same name.
    let mut other = head().scan;
    other.voxels_mut()[0] += 1.0;
    let other = segmenter.segment(&Scan::from_volume("memory", other).unwrap()).unwrap();
    for (found, word) in [(&other, "it holds another image"), (&from_file, "its results would be called memory")] {
        let refused = save(found, "memory").unwrap_err().to_string();
        assert!(refused.contains(word), "{refused}");
    }
    let read = ichor::io::nifti::read(inputs.path("results/memory_ich.nii.gz")).unwrap();
    assert!(read.volume.voxels().iter().zip(found.mask().voxels()).all(|(value, inside)| (*value > 0.0) == *inside));
}

#[test]
fn what_cannot_be_is_an_error_before_a_scan_is_read() {
    let inputs = Inputs::new();
    let said = |builder: ichor::SegmenterBuilder| builder.build().err().expect("refused").to_string();
    assert!(said(Segmenter::builder().weights(inputs.path("none.safetensors"))).contains("none.safetensors"));
    assert!(said(Segmenter::builder().template(inputs.path("none.nii"))).contains("none.nii"));
    assert!(said(Segmenter::builder().device(Device::Cuda(77))).contains("cuda:77"));
    assert!(said(Segmenter::builder().device(Device::Cpu).grade(ichor::Grade::Fast)).contains("f32 alone"));
    let mut segmenter = inputs.segmenter(Options::default());
    let empty = Scan::from_volume("empty", head().scan.map(|_| 0.0)).unwrap();
    assert!(segmenter.segment(&empty).unwrap_err().to_string().starts_with("empty: "));
    assert!(Scan::open(inputs.path("weights.safetensors")).is_err());
    let found = segmenter.segment(&Scan::open(inputs.path("ct.nii.gz")).unwrap()).unwrap();
    assert!(found.save("/").is_err());
}

fn devices() -> Vec<Device> {
    vec![
        Device::Cpu,
        Device::Reference,
        #[cfg(feature = "emulator")]
        Device::Emulated,
    ]
}

#[test]
fn passes_that_are_not_waited_for_give_the_same_bits() {
    let small =
        Description { widths: vec![4, 8], convs: vec![1, 1], up_widths: vec![12], up_convs: vec![1], ..Description::deepbleed() };
    let weights = Weights::generate(&small, "front door").unwrap();
    let shape = [16, 16, 32];
    let scan = generate::ct_input("front door", shape);
    let needed: Vec<bool> = (0..scan.len()).map(|n| n % 7 == 0 && n < 3000).collect();
    for device in devices() {
        let mut engine = Engine::load_with(&weights, device, shape, 2, ichor::Grade::Exact).unwrap();
        assert_eq!(engine.shape(), shape);
        assert!(!engine.device().is_empty());
        for needed in [None, Some(&needed[..])] {
            let (mut waited, mut later) = (vec![1.0; scan.len()], vec![2.0; scan.len()]);
            engine.run(&scan, needed, &mut waited).unwrap();
            engine.start(&scan, needed).unwrap();
            let busy = engine.run(&scan, needed, &mut waited).unwrap_err().to_string();
            assert!(busy.contains("under way"), "{busy}");
            assert!(engine.start(&scan, needed).unwrap_err().to_string().contains("under way"));
            assert!(engine.finish(&mut later[1..]).is_err(), "another length, and the pass stays");
            engine.finish(&mut later).unwrap();
            assert_eq!(waited, later, "{device}");
            let kept = |n: usize| needed.is_none_or(|needed| needed[n]);
            assert!((0..later.len()).all(|n| (later[n] == f32::NEG_INFINITY) != kept(n)), "{device}");
        }
        assert!(engine.finish(&mut vec![0.0; scan.len()]).unwrap_err().to_string().contains("no pass"));
        assert!(engine.start(&scan[1..], None).is_err());
        assert!(engine.run(&scan[1..], None, &mut vec![0.0; scan.len()]).is_err());
        engine.run(&scan, None, &mut vec![0.0; scan.len()]).unwrap();
    }
    assert!(Engine::load(&weights, Device::Cpu, [15, 16, 16]).is_err());
}

#[test]
fn services_can_keep_them() {
    fn is_send<T: Send + 'static>() {}
    fn is_shared<T: Send + Sync + Clone + 'static>() {}
    is_send::<Segmenter>();
    is_send::<Engine>();
    is_send::<ichor::Prepared>();
    is_send::<ichor::Finding>();
    is_shared::<ichor::Preparer>();
    is_shared::<Scan>();
    is_shared::<Weights>();
}
