//! One vector of 16 f32, in the three forms that the kernels are compiled for.
//!
//! Every kernel is written once, generic over [`Simd`], and always inlined into a function with the right target
//! features (see `dispatch.rs`): that is what makes the intrinsics below single instructions. For the same reason
//! kernels are plain loops over indices: closures and iterators are functions of their own, which are not always
//! inlined and have no target features.

/// Number of f32 in a vector, and of channels in a block.
pub const LANES: usize = 16;

/// Operations on a vector of [`LANES`] f32.
///
/// # Safety
/// Every function may only be called on a processor that has the implementation's instructions; pointers must be valid for 16 f32
/// (`broadcast`: one). No alignment is needed.
pub unsafe trait Simd: Copy {
    /// The vector.
    type V: Copy;
    /// Most rows of a matrix product that are kept in registers.
    const ROWS: usize;
    /// Whether a vector is one of 32 registers, so that sixteen sums fit beside what is added to them: AVX-512.
    const MANY_REGISTERS: bool;

    /// Sixteen zeros.
    unsafe fn zero() -> Self::V;
    /// Sixteen times `x`.
    unsafe fn splat(x: f32) -> Self::V;
    /// The 16 values at `p`.
    unsafe fn load(p: *const f32) -> Self::V;
    /// Writes 16 values to `p`.
    unsafe fn store(p: *mut f32, v: Self::V);
    /// a + b
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    /// a - b
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    /// a * b
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    /// a * b + c; rounded once where the processor has a fused multiply-add.
    unsafe fn mul_add(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// x where x > 0, else slope * x.
    unsafe fn prelu(x: Self::V, slope: Self::V) -> Self::V;
    /// The sum of each vector's 16 values, in the order of the vectors. The order of the additions is the same for each.
    unsafe fn sums(v: [Self::V; LANES]) -> Self::V;

    /// Sixteen times the value at `p`.
    #[inline(always)]
    unsafe fn broadcast(p: *const f32) -> Self::V {
        // SAFETY: the caller's pointer is valid for one f32.
        unsafe { Self::splat(*p) }
    }

    /// Asks for the cache line at `p`; any address is allowed.
    #[inline(always)]
    unsafe fn prefetch(p: *const f32) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a prefetch of any address has no effect but on the cache; SSE is part of x86-64.
        unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(p.cast())
        };
        #[cfg(not(target_arch = "x86_64"))]
        let _ = p;
    }
}

/// Plain Rust: for processors with neither AVX2 nor AVX-512. The compiler makes what vectors it can of it.
#[derive(Clone, Copy)]
pub struct Portable;

// SAFETY: no special instructions; the pointers are the caller's duty.
unsafe impl Simd for Portable {
    type V = [f32; LANES];
    const ROWS: usize = 2;
    const MANY_REGISTERS: bool = false;

    #[inline(always)]
    unsafe fn zero() -> Self::V {
        [0.0; LANES]
    }

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self::V {
        [x; LANES]
    }

    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self::V {
        // SAFETY: the caller's pointer is valid for 16 f32; an array of f32 may be read unaligned this way.
        unsafe { p.cast::<Self::V>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store(p: *mut f32, v: Self::V) {
        // SAFETY: as for `load`.
        unsafe { p.cast::<Self::V>().write_unaligned(v) }
    }

    #[inline(always)]
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V {
        let mut v = [0.0; LANES];
        for i in 0..LANES {
            v[i] = a[i] + b[i];
        }
        v
    }

    #[inline(always)]
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V {
        let mut v = [0.0; LANES];
        for i in 0..LANES {
            v[i] = a[i] - b[i];
        }
        v
    }

    #[inline(always)]
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V {
        let mut v = [0.0; LANES];
        for i in 0..LANES {
            v[i] = a[i] * b[i];
        }
        v
    }

    #[inline(always)]
    unsafe fn mul_add(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        let mut v = [0.0; LANES];
        for i in 0..LANES {
            v[i] = a[i] * b[i] + c[i];
        }
        v
    }

    #[inline(always)]
    unsafe fn prelu(x: Self::V, slope: Self::V) -> Self::V {
        let mut v = [0.0; LANES];
        for i in 0..LANES {
            v[i] = if x[i] > 0.0 { x[i] } else { slope[i] * x[i] };
        }
        v
    }

    #[inline(always)]
    unsafe fn sums(v: [Self::V; LANES]) -> Self::V {
        let mut sums = [0.0; LANES];
        for i in 0..LANES {
            for lane in 0..LANES {
                sums[i] += v[i][lane];
            }
        }
        sums
    }
}

#[cfg(target_arch = "x86_64")]
pub use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{LANES, Simd};
    use std::arch::x86_64::*;

    /// AVX2 and FMA: a vector is two registers.
    #[derive(Clone, Copy)]
    pub struct Avx2;

    // SAFETY: the caller of every function makes sure that the processor has AVX2 and FMA and that pointers are valid.
    unsafe impl Simd for Avx2 {
        type V = [__m256; 2];
        const ROWS: usize = 6;
        const MANY_REGISTERS: bool = false;

        #[inline(always)]
        unsafe fn zero() -> Self::V {
            // SAFETY: the processor has AVX2.
            unsafe { [_mm256_setzero_ps(); 2] }
        }

        #[inline(always)]
        unsafe fn splat(x: f32) -> Self::V {
            // SAFETY: the processor has AVX2.
            unsafe { [_mm256_set1_ps(x); 2] }
        }

        #[inline(always)]
        unsafe fn load(p: *const f32) -> Self::V {
            // SAFETY: the processor has AVX2, the pointer is valid for 16 f32.
            unsafe { [_mm256_loadu_ps(p), _mm256_loadu_ps(p.add(LANES / 2))] }
        }

        #[inline(always)]
        unsafe fn store(p: *mut f32, v: Self::V) {
            // SAFETY: the processor has AVX2, the pointer is valid for 16 f32.
            unsafe {
                _mm256_storeu_ps(p, v[0]);
                _mm256_storeu_ps(p.add(LANES / 2), v[1]);
            }
        }

        #[inline(always)]
        unsafe fn add(a: Self::V, b: Self::V) -> Self::V {
            // SAFETY: the processor has AVX2.
            unsafe { [_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1])] }
        }

        #[inline(always)]
        unsafe fn sub(a: Self::V, b: Self::V) -> Self::V {
            // SAFETY: the processor has AVX2.
            unsafe { [_mm256_sub_ps(a[0], b[0]), _mm256_sub_ps(a[1], b[1])] }
        }

        #[inline(always)]
        unsafe fn mul(a: Self::V, b: Self::V) -> Self::V {
            // SAFETY: the processor has AVX2.
            unsafe { [_mm256_mul_ps(a[0], b[0]), _mm256_mul_ps(a[1], b[1])] }
        }

        #[inline(always)]
        unsafe fn mul_add(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
            // SAFETY: the processor has FMA.
            unsafe { [_mm256_fmadd_ps(a[0], b[0], c[0]), _mm256_fmadd_ps(a[1], b[1], c[1])] }
        }

        #[inline(always)]
        unsafe fn prelu(x: Self::V, slope: Self::V) -> Self::V {
            // SAFETY: the processor has AVX2.
            unsafe {
                let zero = _mm256_setzero_ps();
                let (low, high) = (_mm256_cmp_ps::<_CMP_GT_OQ>(x[0], zero), _mm256_cmp_ps::<_CMP_GT_OQ>(x[1], zero));
                [
                    _mm256_blendv_ps(_mm256_mul_ps(slope[0], x[0]), x[0], low),
                    _mm256_blendv_ps(_mm256_mul_ps(slope[1], x[1]), x[1], high),
                ]
            }
        }

        #[inline(always)]
        unsafe fn sums(v: [Self::V; LANES]) -> Self::V {
            // SAFETY: the processor has AVX2.
            unsafe {
                let mut sums = [_mm256_setzero_ps(); 2];
                for half in 0..2 {
                    // Eight vectors at a time: within each quarter of a register first, then its two quarters.
                    let mut quarters = [_mm256_setzero_ps(); 2];
                    for q in 0..2 {
                        let mut pairs = [_mm256_setzero_ps(); 2];
                        for p in 0..2 {
                            let (a, b) = (v[half * 8 + q * 4 + p * 2], v[half * 8 + q * 4 + p * 2 + 1]);
                            let (a, b) = (_mm256_add_ps(a[0], a[1]), _mm256_add_ps(b[0], b[1]));
                            pairs[p] = _mm256_add_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
                        }
                        let (a, b) = (_mm256_castps_pd(pairs[0]), _mm256_castps_pd(pairs[1]));
                        let (low, high) = (_mm256_unpacklo_pd(a, b), _mm256_unpackhi_pd(a, b));
                        quarters[q] = _mm256_add_ps(_mm256_castpd_ps(low), _mm256_castpd_ps(high));
                    }
                    let low = _mm256_permute2f128_ps::<0x20>(quarters[0], quarters[1]);
                    let high = _mm256_permute2f128_ps::<0x31>(quarters[0], quarters[1]);
                    sums[half] = _mm256_add_ps(low, high);
                }
                sums
            }
        }
    }

    /// AVX-512 (F): a vector is one register.
    #[derive(Clone, Copy)]
    pub struct Avx512;

    // SAFETY: the caller of every function makes sure that the processor has AVX-512F and that pointers are valid.
    unsafe impl Simd for Avx512 {
        type V = __m512;
        const ROWS: usize = 14;
        const MANY_REGISTERS: bool = true;

        #[inline(always)]
        unsafe fn zero() -> Self::V {
            // SAFETY: the processor has AVX-512F.
            unsafe { _mm512_setzero_ps() }
        }

        #[inline(always)]
        unsafe fn splat(x: f32) -> Self::V {
            // SAFETY: the processor has AVX-512F.
            unsafe { _mm512_set1_ps(x) }
        }

        #[inline(always)]
        unsafe fn load(p: *const f32) -> Self::V {
            // SAFETY: the processor has AVX-512F, the pointer is valid for 16 f32.
            unsafe { _mm512_loadu_ps(p) }
        }

        #[inline(always)]
        unsafe fn store(p: *mut f32, v: Self::V) {
            // SAFETY: the processor has AVX-512F, the pointer is valid for 16 f32.
            unsafe { _mm512_storeu_ps(p, v) }
        }

        #[inline(always)]
        unsafe fn add(a: Self::V, b: Self::V) -> Self::V {
            // SAFETY: the processor has AVX-512F.
            unsafe { _mm512_add_ps(a, b) }
        }

        #[inline(always)]
        unsafe fn sub(a: Self::V, b: Self::V) -> Self::V {
            // SAFETY: the processor has AVX-512F.
            unsafe { _mm512_sub_ps(a, b) }
        }

        #[inline(always)]
        unsafe fn mul(a: Self::V, b: Self::V) -> Self::V {
            // SAFETY: the processor has AVX-512F.
            unsafe { _mm512_mul_ps(a, b) }
        }

        #[inline(always)]
        unsafe fn mul_add(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
            // SAFETY: the processor has AVX-512F.
            unsafe { _mm512_fmadd_ps(a, b, c) }
        }

        #[inline(always)]
        unsafe fn prelu(x: Self::V, slope: Self::V) -> Self::V {
            // SAFETY: the processor has AVX-512F.
            unsafe {
                let not_positive = _mm512_cmp_ps_mask::<_CMP_NGT_UQ>(x, _mm512_setzero_ps());
                _mm512_mask_mul_ps(x, not_positive, x, slope)
            }
        }

        #[inline(always)]
        unsafe fn sums(v: [Self::V; LANES]) -> Self::V {
            // SAFETY: the processor has AVX-512F.
            unsafe {
                // Within each quarter of a register first: four vectors become one.
                let mut quarters = [_mm512_setzero_ps(); 4];
                for q in 0..4 {
                    let mut pairs = [_mm512_setzero_ps(); 2];
                    for p in 0..2 {
                        let (a, b) = (v[q * 4 + p * 2], v[q * 4 + p * 2 + 1]);
                        pairs[p] = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
                    }
                    let (a, b) = (_mm512_castps_pd(pairs[0]), _mm512_castps_pd(pairs[1]));
                    let (low, high) = (_mm512_unpacklo_pd(a, b), _mm512_unpackhi_pd(a, b));
                    quarters[q] = _mm512_add_ps(_mm512_castpd_ps(low), _mm512_castpd_ps(high));
                }
                // Then the quarters of each.
                let mut halves = [_mm512_setzero_ps(); 2];
                for h in 0..2 {
                    let (a, b) = (quarters[2 * h], quarters[2 * h + 1]);
                    halves[h] = _mm512_add_ps(_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xdd>(a, b));
                }
                let [a, b] = halves;
                _mm512_add_ps(_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xdd>(a, b))
            }
        }
    }
}
