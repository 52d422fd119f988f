//! The emulated device finds the bugs that it is there to find, and its instructions do what the PTX manual says.
#![cfg(feature = "emulator")]

use half::f16;
use ichor::cuda::{Device, Launch, Region};
use ichor::emulator::Emulator;

struct Run {
    outcome: Result<(), String>,
    output: Vec<f32>,
    words: Vec<u32>,
}

/// Runs a kernel of `src/emulator/self_test.cu` with `input`, `outputs` f32 of output and `words` words.
fn run(
    kernel: &'static str,
    mode: u32,
    seed: u64,
    [blocks, threads]: [u32; 2],
    input: &[f32],
    [outputs, words]: [usize; 2],
) -> Run {
    let mut device = Emulator::new(seed);
    let put = |device: &mut Emulator, bytes: &[u8]| -> Region {
        let region = device.allocate(bytes.len()).unwrap();
        device.upload(region, bytes).unwrap();
        region
    };
    let input = put(&mut device, bytemuck::cast_slice(input));
    let output = device.allocate(4 * outputs).unwrap();
    let words_there = device.allocate(4 * words).unwrap();
    let mut arguments = Vec::new();
    for region in [input, output, words_there] {
        arguments.extend(region.address.to_ne_bytes());
    }
    arguments.extend(mode.to_ne_bytes());
    arguments.extend([0; 4]);
    let launch = Launch { kernel, grid: [blocks, 1], threads, shared: 1024, arguments };
    // SAFETY: the emulated device checks every access.
    let outcome = unsafe { device.launch(&launch) }.map_err(|error| error.to_string());
    let mut result = Run { outcome, output: vec![0.0; outputs], words: vec![0; words] };
    if result.outcome.is_ok() {
        if words == 0 {
            device.download(output, bytemuck::cast_slice_mut(&mut result.output)).unwrap();
        } else {
            device.download(words_there, bytemuck::cast_slice_mut(&mut result.words)).unwrap();
        }
    }
    result
}

fn counting(count: usize) -> Vec<f32> {
    (0..count).map(|n| n as f32).collect()
}

/// The kernel must be stopped with `reason`, whatever the order of its threads.
fn stopped(kernel: &'static str, mode: u32, reason: &str) {
    for seed in 0..8 {
        let error = run(kernel, mode, seed, [1, 64], &counting(64), [64, 0]).outcome.expect_err(kernel);
        assert!(error.contains(reason), "{kernel}, mode {mode}: {error}");
        assert!(error.contains(&format!("kernel {kernel}, block (0, 0, 0), thread ")), "{error}");
    }
}

fn right(kernel: &'static str, mode: u32, expected: impl Fn(usize) -> f32) {
    for seed in 0..8 {
        let run = run(kernel, mode, seed, [1, 64], &counting(64), [64, 0]);
        run.outcome.unwrap();
        assert_eq!(run.output, (0..64).map(&expected).collect::<Vec<_>>(), "{kernel}, mode {mode}");
    }
}

#[test]
fn a_missing_barrier_is_found() {
    right("self_test_reverse", 0, |n| 63.0 - n as f32);
    // In some orders the word was not written yet, in the others it was by a thread that is not ordered with the reader.
    for seed in 0..8 {
        let error = run("self_test_reverse", 1, seed, [1, 64], &counting(64), [64, 0]).outcome.unwrap_err();
        assert!(error.contains("with no barrier between") || error.contains("never written"), "{error}");
    }
    right("self_test_reuse", 0, |n| 2.0 * (63.0 - n as f32) + 1.0);
    stopped("self_test_reuse", 1, "with no barrier between");
}

#[test]
fn a_warp_barrier_orders_its_warp_alone() {
    right("self_test_warp", 0, |n| (n ^ 1) as f32);
    for (mode, seed) in (1..3).flat_map(|mode| (0..8).map(move |seed| (mode, seed))) {
        let error = run("self_test_warp", mode, seed, [1, 64], &counting(64), [64, 0]).outcome.unwrap_err();
        assert!(error.contains("with no barrier between") || error.contains("never written"), "{error}");
    }
}

#[test]
fn accesses_out_of_bounds_and_of_what_nobody_wrote_are_found() {
    right("self_test_bounds", 0, |n| n as f32);
    stopped("self_test_bounds", 1, "touches global memory out of bounds: 4 bytes at byte 256 of a buffer of 256 bytes");
    stopped("self_test_bounds", 2, "touches global memory out of bounds");
    stopped("self_test_bounds", 3, "touches shared memory out of bounds: element 64 of 64");
    stopped("self_test_bounds", 4, "reads shared memory that was never written");
    stopped("self_test_bounds", 5, "reads global memory that was never written");
}

#[test]
fn asynchronous_copies_land_at_their_wait() {
    right("self_test_async", 0, |n| 63.0 - n as f32);
    right("self_test_async", 5, |_| 0.0);
    stopped("self_test_async", 1, "whose asynchronous copy was not waited for");
    stopped("self_test_async", 2, "whose asynchronous copy was not waited for");
    for seed in 0..8 {
        let error = run("self_test_async", 3, seed, [1, 64], &counting(64), [64, 0]).outcome.unwrap_err();
        assert!(["no barrier between", "never written", "not waited for"].iter().any(|r| error.contains(r)), "{error}");
    }
    stopped("self_test_async", 4, "ends with asynchronous copies that it never waited for");
    stopped("self_test_async", 6, "unaligned");
}

#[test]
fn a_barrier_that_not_all_reach_is_reported() {
    right("self_test_divergence", 0, |_| 0.0);
    stopped("self_test_divergence", 1, "waits for ever at __syncthreads (line ");
    stopped("self_test_divergence", 2, "while another lane of its warp is at");
}

#[test]
fn blocks_of_a_launch_are_not_ordered() {
    for seed in 0..8 {
        let run = |mode| run("self_test_blocks", mode, seed, [3, 32], &[0.0], [3, 0]);
        run(0).outcome.unwrap();
        assert!(run(1).outcome.unwrap_err().contains("with no barrier between"));
        let error = run(2).outcome.unwrap_err();
        assert!(error.contains("no barrier between") || error.contains("never written"), "{error}");
    }
}

#[test]
fn unwritten_output_cannot_be_read_by_the_host() {
    let mut device = Emulator::new(0);
    let region = device.allocate(8).unwrap();
    device.upload(region, &[1; 4]).unwrap();
    device.download(region, &mut [0; 4]).unwrap();
    let error = device.download(region, &mut [0; 8]).unwrap_err().to_string();
    assert!(error.contains("no kernel wrote, at byte 4"), "{error}");
    assert!(device.download(region, &mut [0; 9]).is_err());
    assert!(device.upload(region, &[0; 9]).is_err());
}

#[test]
fn launches_that_cannot_be_are_refused() {
    let refused = |launch: &Launch, reason: &str| {
        // SAFETY: the emulated device checks every access.
        let error = unsafe { Emulator::new(0).launch(launch) }.unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    };
    let launch = Launch { kernel: "self_test_half", grid: [1, 1], threads: 32, shared: 0, arguments: vec![0; 32] };
    refused(&Launch { kernel: "nothing", ..launch.clone() }, "there is no kernel nothing");
    refused(&Launch { threads: 31, ..launch.clone() }, "whole number of warps");
    refused(&Launch { arguments: vec![0; 24], ..launch.clone() }, "takes 32 bytes of arguments, not 24");
    refused(&Launch { kernel: "self_test_reverse", threads: 64, ..launch }, "shared memory at byte 0, but the launch gave 0");
}

#[test]
fn ldmatrix_hands_row_lane_div_4_to_each_lane() {
    // Word 4 r + p of the rows holds halves 2p and 2p + 1 of row r; matrix m has rows 8 m to 8 m + 7.
    let input: Vec<f32> = (0..128).map(|n| f32::from_bits(n + 1)).collect();
    let run = run("self_test_ldmatrix", 0, 1, [1, 32], &input, [1, 128]);
    run.outcome.unwrap();
    for lane in 0..32 {
        for matrix in 0..4 {
            let (row, pair) = (8 * matrix + lane / 4, lane % 4);
            assert_eq!(run.words[4 * lane + matrix], (4 * row + pair) as u32 + 1, "lane {lane}, matrix {matrix}");
        }
    }
}

#[test]
fn mma_multiplies_the_documented_fragments() {
    // PTX ISA, "Matrix fragments for mma.m16n8k16" of .f16: with group g = lane / 4 and t = lane % 4,
    // a_i: row g for i in {0, 1, 4, 5}, else g + 8; column 2t + (i & 1), plus 8 for i >= 4
    // b_i: row 2t + (i & 1), plus 8 for i >= 2; column g
    // c_i: row g for i < 2, else g + 8; column 2t + (i & 1)
    let a = |row: usize, column: usize| ((row * 5 + column * 3) % 7) as f32 - 3.0;
    let b = |row: usize, column: usize| ((row * 2 + column * 11) % 5) as f32 - 2.0;
    let c = |row: usize, column: usize| (row * 8 + column) as f32 / 4.0;
    let mut input = vec![0.0; 32 * 16];
    for lane in 0..32 {
        let (g, t) = (lane / 4, lane % 4);
        for i in 0..8 {
            let row = if matches!(i, 0 | 1 | 4 | 5) { g } else { g + 8 };
            input[lane * 16 + i] = a(row, 2 * t + (i & 1) + if i >= 4 { 8 } else { 0 });
        }
        for i in 0..4 {
            input[lane * 16 + 8 + i] = b(2 * t + (i & 1) + if i >= 2 { 8 } else { 0 }, g);
            input[lane * 16 + 12 + i] = c(if i < 2 { g } else { g + 8 }, 2 * t + (i & 1));
        }
    }
    let run = run("self_test_mma", 0, 2, [1, 32], &input, [128, 0]);
    run.outcome.unwrap();
    for lane in 0..32 {
        for i in 0..4 {
            let (row, column) = (if i < 2 { lane / 4 } else { lane / 4 + 8 }, 2 * (lane % 4) + (i & 1));
            let expected = c(row, column) + (0..16).map(|k| a(row, k) * b(k, column)).sum::<f32>();
            assert_eq!(run.output[4 * lane + i], expected, "row {row}, column {column}");
        }
    }
}

#[test]
fn shuffle_takes_from_the_lane_further_on() {
    for delta in [0, 1, 16, 31] {
        let run = run("self_test_shuffle", delta, 3, [1, 32], &counting(32), [32, 0]);
        run.outcome.unwrap();
        for lane in 0..32 {
            let from = if lane + delta < 32 { lane + delta } else { lane };
            assert_eq!(run.output[lane as usize], from as f32);
        }
    }
}

#[test]
fn halves_round_as_the_half_crate_does() {
    let mut values =
        vec![0.0, 1.0, 65504.0, 65519.9, 65520.0, 1e30, f32::INFINITY, 1e-8, 2.9802322e-8, 2.9802326e-8, 5.9604645e-8, 6.1e-5];
    let mut state = 1u32;
    while values.len() % 32 != 0 || values.len() < 2048 {
        state = state.wrapping_mul(1664525).wrapping_add(1013904223);
        values.push(f32::from_bits((state >> 1) % 0x4800_0000));
    }
    for part in values.chunks(32) {
        let run = run("self_test_half", 0, 4, [1, 32], part, [1, 32]);
        run.outcome.unwrap();
        for (word, value) in run.words.iter().zip(part) {
            let expected = u32::from(f16::from_f32(*value).to_bits()) | u32::from(f16::from_f32(-value).to_bits()) << 16;
            assert_eq!(*word, expected, "{value:e}");
        }
    }
}
