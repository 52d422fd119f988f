use super::*;

/// The brain on isotropic voxels of `mm`, without noise and artefacts.
fn clean(mm: f64, kind: Kind, volume_ml: [f32; 2]) -> Settings {
    let side = |length: f64| (length / mm).round() as usize;
    let grid = ct_grid([side(160.0), side(190.0), side(165.0)], [mm; 3], 0.0);
    Settings {
        brain_only: true,
        without_bleed: 0.0,
        volume_ml,
        kinds: vec![kind],
        noise_hu: [0.0, 0.0],
        artefacts: 0.0,
        motion: 0.0,
        cut: 0.0,
        crooked: 2.0,
        ..Settings::new(grid, mm)
    }
}

/// The same with all of the head.
fn whole(mm: f64) -> Settings {
    let side = |length: f64| (length / mm).round() as usize;
    let grid = ct_grid([side(180.0), side(220.0), side(180.0)], [mm; 3], 0.0);
    Settings { brain_only: false, grid, ..clean(mm, Kind::Deep, [1.0, 1.0]) }
}

fn drawn_ml(head: &Head) -> f64 {
    head.bleeds.iter().map(|bleed| bleed.volume_ml).sum()
}

fn voxels_where(mask: &Volume<bool>) -> impl Iterator<Item = usize> + '_ {
    mask.voxels().iter().enumerate().filter(|(_, inside)| **inside).map(|(n, _)| n)
}

fn world(grid: &Grid, n: usize) -> [f64; 3] {
    grid.world(n)
}

#[test]
fn the_label_has_the_drawn_volume() {
    // Single bleeds: what touches or fills ventricles is counted once in a label.
    for (kind, range, tolerance) in [
        (Kind::Deep, [8.0, 60.0], 0.02),
        (Kind::Lobar, [8.0, 90.0], 0.02),
        (Kind::Infratentorial, [5.0, 25.0], 0.02),
        (Kind::Intraventricular, [5.0, 15.0], 0.05),
        (Kind::Subdural, [15.0, 90.0], 0.03),
    ] {
        let mut tried = 0;
        for seed in 1..6 {
            let head = generate(seed, &clean(1.5, kind, range)).unwrap();
            if head.bleeds.len() != 1 {
                continue;
            }
            tried += 1;
            let (drawn, label) = (drawn_ml(&head), head.label_ml());
            assert!((label / drawn - 1.0).abs() < tolerance, "{kind:?} of seed {seed}: {label:.3} mL for {drawn:.3}");
            assert!(head.bleeds[0].kind == kind && drawn <= f64::from(range[1]) * 1.01);
        }
        assert!(tried >= 2, "{kind:?}");
    }
}

#[test]
fn a_volume_that_is_asked_for_is_drawn() {
    for ml in [0.5, 1.5, 12.0, 60.0] {
        for kind in [Kind::Deep, Kind::Lobar] {
            let head = generate(5, &clean(4.0, kind, [ml, ml])).unwrap();
            let first = head.bleeds.first().unwrap().volume_ml;
            assert!((first / f64::from(ml) - 1.0).abs() < 0.01, "{kind:?}: {first} for {ml}");
        }
    }
}

#[test]
fn no_blood_outside_the_skull_and_none_without_a_bleed() {
    for seed in 0..4 {
        let settings = Settings { volume_ml: [20.0, 150.0], kinds: Kind::ALL.to_vec(), ..clean(2.0, Kind::Lobar, [1.0, 1.0]) };
        let head = generate(seed, &settings).unwrap();
        assert!(head.label.count() > 100);
        assert!(voxels_where(&head.label).all(|n| head.brain.voxels()[n]), "seed {seed}");
        let head = generate(seed, &Settings { without_bleed: 1.0, ..settings }).unwrap();
        assert!(head.bleeds.is_empty() && head.label.count() == 0);
    }
}

#[test]
fn left_stays_left_on_any_grid() {
    let settings = clean(2.5, Kind::Deep, [20.0, 30.0]);
    let mut sides = [0; 2];
    for seed in 0..6 {
        let head = generate(seed, &settings).unwrap();
        let bleed = &head.bleeds[0];
        let left = bleed.centre[0] < 0.0;
        sides[usize::from(left)] += 1;
        // The same head on axes that run the other way, and on a tilted gantry: the blood is at the same place of the world.
        let mut turned = settings.grid.clone();
        let [ni, nj, nk] = turned.shape;
        let flip = Affine::new([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], [ni as f64 - 1.0, 0.0, 0.0]);
        turned = Grid { shape: [nj, ni, nk], affine: turned.affine.after(&flip) };
        for grid in [settings.grid.clone(), turned, ct_grid([70, 80, 45], [2.5, 2.5, 4.0], 18.0)] {
            let head = generate(seed, &Settings { grid, ..settings.clone() }).unwrap();
            if head.bleeds.len() > 1 {
                continue;
            }
            let places: Vec<[f64; 3]> = voxels_where(&head.label).map(|n| world(head.label.grid(), n)).collect();
            for axis in 0..3 {
                let mean = places.iter().map(|p| p[axis]).sum::<f64>() / places.len() as f64;
                assert!((mean - bleed.centre[axis]).abs() < 1.0, "seed {seed}, axis {axis}: {mean} for {}", bleed.centre[axis]);
            }
        }
    }
    assert!(sides[0] > 0 && sides[1] > 0);
}

#[test]
fn the_same_bytes_for_any_number_of_threads_and_others_for_another_seed() {
    let grid = ct_grid([60, 66, 24], [3.2, 3.2, 6.0], 10.0);
    let settings = Settings { motion: 1.0, without_bleed: 0.0, ..Settings::new(grid, 6.0) };
    let run = |threads, seed| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| generate(seed, &settings).unwrap())
    };
    let (one, three) = (run(1, 4), run(3, 4));
    assert_eq!((&one.scan, &one.label, &one.brain, &one.bleeds), (&three.scan, &three.label, &three.brain, &three.bleeds));
    assert_ne!(one.scan, run(1, 5).scan);
}

#[test]
fn tissues_have_their_hounsfield_units() {
    let settings = Settings { without_bleed: 1.0, ..whole(1.5) };
    let mut dense = 0;
    for seed in [2, 9] {
        let head = generate(seed, &settings).unwrap();
        let anatomy = Anatomy::new(&mut Random::new(seed, 0));
        let t = anatomy.tissues;
        let hu = head.scan.voxels();
        let brain: Vec<f32> = voxels_where(&head.brain).map(|n| hu[n]).collect();
        let share =
            |low: f32, high: f32| brain.iter().filter(|&&hu| (low..high).contains(&hu)).count() as f32 / brain.len() as f32;
        assert!(share(t.white - 4.0, t.grey + 4.0) > 0.6, "{}", share(t.white - 4.0, t.grey + 4.0));
        assert!((0.02..0.4).contains(&share(0.0, 18.0)), "{}", share(0.0, 18.0));
        // Voxels at the border are bone in part.
        assert!(
            share(100.0, 4000.0) < 0.06 && share(-2000.0, -20.0) < 0.001,
            "{} {}",
            share(100.0, 4000.0),
            share(-2000.0, -20.0)
        );
        // Bone outside the brain; air around the head; fat under the skin.
        let outside = || hu.iter().zip(head.brain.voxels()).filter(|(_, inside)| !**inside).map(|(hu, _)| *hu);
        dense += outside().filter(|&hu| hu > 900.0).count();
        assert!(outside().filter(|&hu| hu < -950.0).count() > hu.len() / 8);
        assert!(outside().filter(|&hu| (-110.0..-70.0).contains(&hu)).count() > 5_000);
        // Of the size that it was drawn with; the mask goes on 18 mm below the foramen magnum and beyond the ellipsoids' sum by its warp.
        let ml = head.brain.volume_ml();
        let drawn = f64::from(head.person.intracranial_ml);
        assert!((0.95..1.08).contains(&(ml / drawn)), "{ml} for {drawn}");
    }
    assert!(dense > 50_000);
}

#[test]
fn the_networks_view_is_the_brain_alone() {
    let head = generate(3, &Settings::network(4.5)).unwrap();
    assert_eq!(head.scan.grid().shape, [96, 112, 112]);
    let pairs = || head.scan.voxels().iter().zip(head.brain.voxels());
    assert!(pairs().all(|(&hu, &inside)| inside || hu == 0.0));
    let inside = pairs().filter(|(_, inside)| **inside).count() as f64 * 3.375e-3;
    assert!(inside > 1000.0, "{inside} mL");
}

#[test]
fn settings_that_no_scan_can_have_are_errors() {
    let good = clean(4.0, Kind::Deep, [1.0, 2.0]);
    let flat = Grid { shape: [4; 3], affine: Affine::new([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]], [0.0; 3]) };
    for bad in [
        Settings { grid: Grid { shape: [0, 4, 4], ..good.grid.clone() }, ..good.clone() },
        Settings { grid: Grid { shape: [1 << 20; 3], ..good.grid.clone() }, ..good.clone() },
        Settings { grid: flat, ..good.clone() },
        Settings { thickness: 0.0, ..good.clone() },
        Settings { thickness: f64::NAN, ..good.clone() },
        Settings { volume_ml: [2.0, 1.0], ..good.clone() },
        Settings { volume_ml: [1.0, 200.0], ..good.clone() },
        Settings { without_bleed: 1.5, ..good.clone() },
        Settings { noise_hu: [-1.0, 2.0], ..good.clone() },
        Settings { artefacts: f32::NAN, ..good.clone() },
        Settings { crooked: 90.0, ..good.clone() },
    ] {
        assert!(matches!(generate(1, &bad), Err(Error::Phantom(_))), "{bad:?}");
    }
}

#[test]
fn noise_has_its_strength() {
    let mut settings = Settings { without_bleed: 1.0, ..clean(1.5, Kind::Deep, [1.0, 1.0]) };
    let quiet = generate(6, &settings).unwrap();
    settings.noise_hu = [4.0, 4.0];
    let loud = generate(6, &settings).unwrap();
    let [ni, nj, nk] = settings.grid.shape;
    let middle = |k: usize| (ni / 3..2 * ni / 3).flat_map(move |i| (nj / 3..2 * nj / 3).map(move |j| i + ni * (j + nj * k)));
    let differences: Vec<f32> =
        (nk / 2..nk / 2 + 10).flat_map(middle).map(|n| loud.scan.voxels()[n] - quiet.scan.voxels()[n]).collect();
    let deviation = (differences.iter().map(|d| d * d).sum::<f32>() / differences.len() as f32).sqrt();
    assert!((3.0..4.3).contains(&deviation), "{deviation}");
}

#[test]
fn what_the_field_of_view_shows_of_a_bleed_is_told() {
    let settings = clean(2.0, Kind::Lobar, [20.0, 20.0]);
    let whole = generate(4, &settings).unwrap();
    let bleed = &whole.bleeds[0];
    assert_eq!((whole.bleeds.len(), bleed.in_view), (1, 1.0));
    // Slices up to the one with the centre of mass, and none with blood.
    let up_to = |mm: f64| {
        let grid = settings.grid.clone();
        let slices = ((mm - grid.affine.rows[2][3]) / 2.0).floor() as usize + 1;
        let cut = Settings { grid: Grid { shape: [grid.shape[0], grid.shape[1], slices], ..grid }, ..settings.clone() };
        generate(4, &cut).unwrap()
    };
    let half = up_to(bleed.centre[2]);
    let (shown, labelled) = (half.bleeds[0].in_view, half.label_ml() / whole.label_ml());
    assert!((0.3..0.7).contains(&shown) && (shown - labelled).abs() < 0.02, "{shown} {labelled}");
    assert_eq!(half.bleeds[0].volume_ml, bleed.volume_ml, "all of it");
    let none = up_to(bleed.centre[2] - 40.0);
    assert_eq!((none.bleeds[0].in_view, none.label_ml()), (0.0, 0.0));
}
