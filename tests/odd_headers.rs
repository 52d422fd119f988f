//! Valid NIfTI files in which some header fields get special values: never a panic, never more memory than the file accounts for, and where a
//! scan is read, a mask written with its header comes back on the same grid.

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::Path;

use ichor::io::nifti::{self, NiftiError, Scan};
use ichor::scan::brain;
use ichor::scan::registration;
use ichor::scan::segment::{BrainSource, prepare};
use ichor::scan::template;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use support::odd_nifti::Format;

/// The system's allocator, which notes the largest block that a thread has asked for.
struct Watched;

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

impl Watched {
    fn note(size: usize) {
        LARGEST.with(|largest| largest.set(largest.get().max(size)));
    }
}

// SAFETY: every call is handed on to the system's allocator as it is; the note is a `Cell` that neither allocates nor has a destructor.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Watched::note(layout.size());
        // SAFETY: the caller keeps the contract, which is that of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Watched::note(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Watched::note(size);
        // SAFETY: as above; the block is `System`'s.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above; the block is `System`'s.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Watched = Watched;

/// Reads a file's bytes; the largest block asked for is no larger than they account for: 4 bytes a voxel of a byte and more, and the buffers.
fn read(bytes: &[u8]) -> Result<Scan, NiftiError> {
    LARGEST.set(0);
    let result = nifti::read_bytes(bytes);
    let largest = LARGEST.get();
    assert!(largest <= 4 * bytes.len() + (1 << 17), "a block of {largest} bytes for a file of {}", bytes.len());
    result
}

/// The mask of a scan, written with the scan's header, comes back on the scan's grid, in the scan's version.
fn mask_comes_back(scan: &Scan, folder: &Path) {
    let mask = scan.volume.map(|&value| u8::from(value > 10.0));
    let path = folder.join("mask.nii");
    nifti::write(&path, &mask, &scan.header).unwrap();
    let again = nifti::read(&path).unwrap();
    assert_eq!(again.header.grid(), scan.volume.grid());
    assert_eq!(again.header.version(), scan.header.version());
    assert_eq!(again.volume.voxels(), mask.map(|&inside| f32::from(inside)).voxels());
}

/// Numbers that no scanner writes, and such as are at the limits of their types.
fn special() -> impl Strategy<Value = f64> {
    let fixed = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        2.0,
        3.0,
        0.5,
        1.5,
        -1e-3,
        1e-3,
        1e-30,
        1e3,
        352.0,
        544.0,
        1e9,
        -1e9,
        1e30,
        -1e30,
        f64::from(f32::MAX),
        f64::MIN_POSITIVE,
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::from(i16::MIN),
        f64::from(i16::MAX),
        f64::from(i32::MIN),
        i64::MIN as f64,
        i64::MAX as f64,
    ];
    prop_oneof![4 => proptest::sample::select(fixed.to_vec()), 1 => -2000.0..2000.0_f64]
}

/// A valid file of either version and byte order, and up to five of its fields with special values.
fn odd_file() -> impl Strategy<Value = Vec<u8>> {
    let formats = [1, 2].into_iter().flat_map(|version| [false, true].map(|big_endian| Format { version, big_endian }));
    let changes = proptest::collection::vec((any::<proptest::sample::Index>(), special()), 0..6);
    (proptest::sample::select(formats.collect::<Vec<_>>()), changes).prop_map(|(format, changes)| {
        let mut numbers = format.fields();
        numbers.retain(|field| field.name != "sizeof_hdr");
        let mut bytes = format.valid();
        for (field, value) in changes {
            format.put(&mut bytes, field.get(&numbers).clone(), value);
        }
        bytes
    })
}

#[test]
fn odd_fields_are_an_error_or_a_scan_whose_mask_comes_back() {
    // One folder for all cases.
    let folder = tempfile::tempdir().unwrap();
    let tested = TestRunner::new(ProptestConfig::with_cases(4000)).run(&odd_file(), |bytes| {
        if let Ok(scan) = read(&bytes) {
            prop_assert!(scan.volume.grid().affine.inverse().is_some());
            prop_assert_eq!(scan.volume.grid(), scan.header.grid());
            mask_comes_back(&scan, folder.path());
        }
        Ok(())
    });
    tested.unwrap_or_else(|failure| panic!("{failure}"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

    #[test]
    fn odd_scans_go_through_brain_and_registration_without_a_panic(bytes in odd_file()) {
        let path = Path::new("odd.nii");
        if let Ok(scan) = read(&bytes) {
            let extract = BrainSource::Extract(brain::Options::default());
            let _ = prepare(scan.volume.clone(), &extract, path);
            if let Ok(prepared) = prepare(scan.volume, &BrainSource::SkullStripped, path) {
                let options = registration::Options { starting_angles: vec![0.0] };
                if let Ok(found) = registration::register(&prepared.masked, &template::built_in(), &options) {
                    prop_assert!(found.template_to_scan.rows.as_flattened().iter().all(|value| value.is_finite()));
                }
            }
        }
    }
}

/// What the cases above begin with is a scan, so that they test more than the first check.
#[test]
fn the_files_to_begin_with_are_read_and_a_field_matters_where_it_should() {
    for version in [1, 2] {
        for big_endian in [false, true] {
            let format = Format { version, big_endian };
            let scan = read(&format.valid()).unwrap();
            assert_eq!(scan.volume.grid().shape, [4, 5, 3]);
            assert_eq!(scan.volume.grid().affine.rows[1], [0.0, 2.0, 0.0, -4.0]);
            assert_eq!((scan.volume.voxels()[1], scan.warnings.len()), (-1004.0, 0));
            let refused = |name: &str, value: f64| {
                let mut bytes = format.valid();
                let field = format.fields().into_iter().find(|field| field.name == name).unwrap();
                format.put(&mut bytes, field, value);
                read(&bytes).is_err()
            };
            for (name, value) in [("dim[0]", 8.0), ("dim[3]", -1.0), ("datatype", 3.0), ("vox_offset", -1.0), ("srow_x[0]", 0.0)]
            {
                assert!(refused(name, value), "{name} = {value}");
            }
            assert!(refused("scl_inter", f64::NAN));
            assert!(!refused("cal_max", f64::NAN) && !refused("intent_code", -1.0) && !refused("dim[5]", -1.0));
        }
    }
}
