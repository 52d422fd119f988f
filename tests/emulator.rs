//! The emulated device finds the bugs that it is there to find, and its instructions do what the PTX manual says.

use half::f16;
use ichor::network::cuda::{CudaDevice, Launch, Region, Tensor};
use ichor::network::emulator::Emulator;

struct Run {
    outcome: Result<(), String>,
    output: Vec<f32>,
    words: Vec<u32>,
}

/// Runs a kernel of `src/network/emulator/self_test.cu` with `input`, `outputs` f32 of output and `words` words.
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
    let launch = Launch { kernel, grid: [blocks, 1], threads, shared: 2048, arguments };
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

/// Operands of a wgmma: a (64x16), b (16xN) and d (64xN), small integers and quarters, so that every sum is exact.
fn operand_a(row: usize, k: usize) -> f32 {
    ((row * 5 + k * 3) % 7) as f32 - 3.0
}
fn operand_b(k: usize, column: usize) -> f32 {
    ((k * 2 + column * 11) % 5) as f32 - 2.0
}
fn operand_d(row: usize, column: usize) -> f32 {
    (row * 64 + column) as f32 / 4.0
}

/// PTX ISA, "Matrix fragments for wgmma.mma_async.m64nNk16": thread t of the warpgroup holds of d in register i row 16 (t / 32) + t % 32 / 4, plus 8
/// where i / 2 is odd, at column 8 (i / 4) + 2 (t % 4) + i % 2.
fn place_of_d(thread: usize, register: usize) -> (usize, usize) {
    let row = 16 * (thread / 32) + thread % 32 / 4 + if register / 2 % 2 == 1 { 8 } else { 0 };
    (row, 8 * (register / 4) + 2 * (thread % 4) + register % 2)
}

/// And of a in half i the same rows for i in {0, 1, 4, 5}, plus 8 for the others, at column 2 (t % 4) + (i & 1), plus 8 for i >= 4.
fn place_of_a(thread: usize, half: usize) -> (usize, usize) {
    let row = 16 * (thread / 32) + thread % 32 / 4 + if matches!(half, 0 | 1 | 4 | 5) { 0 } else { 8 };
    (row, 2 * (thread % 4) + (half & 1) + if half >= 4 { 8 } else { 0 })
}

fn wgmma_input(columns: usize) -> Vec<f32> {
    let mut input = Vec::new();
    for thread in 0..128 {
        input.extend((0..8).map(|half| place_of_a(thread, half)).map(|(row, k)| operand_a(row, k)));
        input.extend((0..columns / 2).map(|register| place_of_d(thread, register)).map(|(row, n)| operand_d(row, n)));
    }
    input.extend((0..columns).flat_map(|column| (0..16).map(move |k| operand_b(k, column))));
    input
}

#[test]
fn wgmma_multiplies_the_documented_fragments_with_a_described_matrix() {
    for (kernel, columns) in [("self_test_wgmma_n32", 32), ("self_test_wgmma_n64", 64)] {
        for seed in 0..4 {
            let run = run(kernel, 0, seed, [1, 128], &wgmma_input(columns), [64 * columns, 0]);
            run.outcome.unwrap();
            for thread in 0..128 {
                for register in 0..columns / 2 {
                    let (row, column) = place_of_d(thread, register);
                    let product = (0..16).map(|k| operand_a(row, k) * operand_b(k, column)).sum::<f32>();
                    let expected = operand_d(row, column) + product;
                    assert_eq!(run.output[thread * columns / 2 + register], expected, "row {row}, column {column}");
                }
            }
        }
    }
}

#[test]
fn wrong_uses_of_wgmma_are_found() {
    for seed in 0..8 {
        let run = |mode| run("self_test_wgmma_n32", mode, seed, [1, 128], &wgmma_input(32), [64 * 32, 0]);
        let stopped = |mode, reason: &str| {
            let error = run(mode).outcome.expect_err(reason);
            assert!(error.contains(reason), "mode {mode}: {error}");
        };
        stopped(1, "wgmma with no wgmma.fence after its registers were written");
        stopped(2, "wrote with no fence.proxy.async");
        stopped(4, "writes shared memory that a wgmma under way reads");
        stopped(5, "writes registers that a wgmma under way reads");
        stopped(6, "writes registers to which a wgmma under way adds");
        stopped(7, "ends with wgmmas that it never waited for");
        stopped(8, "waits for ever at wgmma.wait_group");
        stopped(9, "wgmma reads byte 65663 of shared memory, of which there are 2048");
        stopped(10, "reads shared memory that was never written");
        stopped(11, "ends with wgmmas that it never waited for");
        stopped(12, "differs from that of another thread of its warpgroup");
        let error = run(13).outcome.unwrap_err();
        assert!(["no barrier between", "never written", "no fence.proxy"].iter().any(|r| error.contains(r)), "{error}");
        let early = run(3);
        early.outcome.unwrap();
        assert!(early.output.iter().all(|value| value.is_nan()), "the results are there before the wait");
    }
}

#[test]
fn a_wait_for_wgmma_groups_gives_the_older_results_alone() {
    for seed in 0..4 {
        let first = |mode| {
            let run = run("self_test_wgmma_groups", mode, seed, [1, 128], &[0.0], [128, 0]);
            run.outcome.unwrap();
            run.output
        };
        assert_eq!(first(0), [32.0; 128]);
        assert!(first(1).iter().all(|value| value.is_nan()));
    }
}

/// Runs one of the kernels that take a tensor map. The tensor is of f16 with `sides`, its words count from 1.
fn run_tensor(
    kernel: &'static str,
    mode: u32,
    seed: u64,
    [threads, shared]: [u32; 2],
    [sides, tile]: [[usize; 4]; 2],
    begin: [i32; 4],
) -> Result<Vec<u32>, String> {
    let mut device = Emulator::new(seed);
    let count = sides.iter().product::<usize>() / 2;
    let words: Vec<u32> = (0..count as u32).map(|n| n + 1).collect();
    let region = device.allocate(4 * count).unwrap();
    device.upload(region, bytemuck::cast_slice(&words)).unwrap();
    let map = device.tensor_map(&Tensor { region, sides, tile }).unwrap();
    let copied = tile.iter().product::<usize>() / 2;
    let output = device.allocate(4 * copied.max(64)).unwrap();
    let mut arguments: Vec<u8> = bytemuck::cast_slice(&map).to_vec();
    arguments.extend(region.address.to_ne_bytes());
    arguments.extend(output.address.to_ne_bytes());
    arguments.extend(mode.to_ne_bytes());
    arguments.extend(begin.iter().flat_map(|x| x.to_ne_bytes()));
    arguments.extend((copied as u32).to_ne_bytes());
    arguments.resize(192, 0);
    let launch = Launch { kernel, grid: [1, 1], threads, shared, arguments };
    // SAFETY: the emulated device checks every access.
    unsafe { device.launch(&launch) }.map_err(|error| error.to_string())?;
    let mut result = vec![0u32; if kernel == "self_test_ring" { 64 } else { copied }];
    device.download(output, bytemuck::cast_slice_mut(&mut result)).unwrap();
    Ok(result)
}

const SIDES: [usize; 4] = [16, 3, 2, 2];
const BOX: [usize; 4] = [24, 2, 2, 1];

#[test]
fn a_box_of_a_tensor_is_copied_with_zeros_outside() {
    for (seed, begin) in [[-4, -1, 0, 1], [0, 0, 0, 0], [8, 2, 1, 1], [-100, 0, 0, 0], [0, 0, -1, 2]].into_iter().enumerate() {
        let words = run_tensor("self_test_tensor", 0, seed as u64, [64, 1024], [SIDES, BOX], begin).unwrap();
        for (n, word) in words.iter().enumerate() {
            // Coordinates of the word's first half; boxes begin at even ones, so the second is beside it.
            let at =
                [2 * n % BOX[0], 2 * n / BOX[0] % BOX[1], 2 * n / BOX[0] / BOX[1] % BOX[2], 2 * n / BOX[0] / BOX[1] / BOX[2]];
            let at: Vec<i64> = at.iter().zip(begin).map(|(x, b)| *x as i64 + i64::from(b)).collect();
            let inside = at.iter().zip(SIDES).all(|(x, side)| (0..side as i64).contains(x));
            let index = ((at[3] * 2 + at[2]) * 3 + at[1]) * 16 + at[0];
            assert_eq!(*word, if inside { (index / 2 + 1) as u32 } else { 0 }, "box at {begin:?}, word {n}");
        }
    }
}

#[test]
fn wrong_uses_of_bulk_copies_are_found() {
    for seed in 0..8 {
        let stopped = |mode, reasons: &[&str]| {
            let error = run_tensor("self_test_tensor", mode, seed, [64, 1024], [SIDES, BOX], [0; 4]).expect_err(reasons[0]);
            assert!(reasons.iter().any(|reason| error.contains(reason)), "mode {mode}: {error}");
        };
        let early = ["never written", "was not waited for", "did not wait for"];
        stopped(1, &early);
        stopped(2, &early);
        stopped(3, &["waits for ever at mbarrier.try_wait"]);
        stopped(4, &["that no fence.proxy.async of thread 0 showed to the async proxy"]);
        stopped(5, &["initialises with no barrier between", "was not initialised"]);
        stopped(6, &["uses an mbarrier that was not initialised, at byte 16"]);
        stopped(7, &["into which an asynchronous copy is under way"]);
        stopped(8, &["ends with bulk copies that nobody waited for"]);
        stopped(9, &["to an address that is no multiple of 128"]);
        stopped(10, &early);
        stopped(11, &early);
        stopped(12, &["of 192 bytes to byte 896 of shared memory, of which there are 1024"]);
        stopped(13, &["waits for ever at mbarrier.try_wait"]);
        stopped(14, &["writes shared memory into which an asynchronous copy is under way"]);
        stopped(15, &["that the generic proxy wrote with no fence.proxy.async"]);
    }
}

#[test]
fn a_bulk_copy_copies_words() {
    let (sides, tile) = ([64, 1, 1, 1], [64, 1, 1, 1]);
    for seed in 0..4 {
        let words = run_tensor("self_test_bulk", 0, seed, [64, 1024], [sides, tile], [0; 4]).unwrap();
        assert_eq!(words, (1..33).collect::<Vec<u32>>());
        let error = run_tensor("self_test_bulk", 1, seed, [64, 1024], [sides, tile], [0; 4]).unwrap_err();
        assert!(error.contains("multiple of 16"), "{error}");
    }
}

#[test]
fn mbarriers_order_who_arrives_with_who_waits() {
    // 8 parts of 64 words whose bits are read as f32; the sums are of subnormal numbers, which add like their bits.
    let run = |mode, seed| run_tensor("self_test_ring", mode, seed, [96, 1024], [[1024, 1, 1, 1], [8, 1, 1, 1]], [0; 4]);
    for seed in 0..16 {
        let expected: Vec<u32> = (0..64).map(|thread| (0..8).map(|round| 64 * round + 64 - thread).sum()).collect();
        assert_eq!(run(0, seed).unwrap(), expected);
        let stopped = |mode, reasons: &[&str]| {
            let error = run(mode, seed).expect_err(reasons[0]);
            assert!(reasons.iter().any(|reason| error.contains(reason)), "mode {mode}: {error}");
        };
        let raced = ["another thread reads with no barrier between", "was not waited for", "did not wait for", "never written"];
        stopped(1, &raced);
        stopped(2, &raced);
        stopped(3, &["waits for ever at mbarrier.try_wait"]);
        stopped(4, &["another thread reads", "copy is under way", "did not wait for", "arrivals of the phase have come"]);
        stopped(5, &raced);
        stopped(
            6,
            &[
                "arrivals of the phase have come",
                "another thread reads with no barrier between",
                "did not wait for",
                "copy is under way",
            ],
        );
    }
}

#[test]
fn tensors_that_no_map_can_describe_are_refused() {
    let mut device = Emulator::new(0);
    let region = device.allocate(1024).unwrap();
    let good = Tensor { region, sides: [16, 2, 2, 8], tile: [8, 1, 1, 1] };
    device.tensor_map(&good).unwrap();
    for (wrong, reason) in [
        (Tensor { sides: [16, 2, 2, 9], ..good }, "does not fit its memory"),
        (Tensor { sides: [12, 2, 2, 8], ..good }, "multiples of 16 bytes"),
        (
            Tensor { region: Region { address: region.address + 8, bytes: 1016 }, sides: [16, 2, 2, 4], ..good },
            "multiples of 16 bytes",
        ),
        (Tensor { tile: [8, 1, 257, 1], ..good }, "1 to 256 elements"),
        (Tensor { tile: [8, 0, 1, 1], ..good }, "1 to 256 elements"),
        (Tensor { tile: [12, 1, 1, 1], ..good }, "multiples of 16 bytes"),
    ] {
        let error = device.tensor_map(&wrong).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
}
