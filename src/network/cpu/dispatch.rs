//! Kernels that are generic over [`Simd`](super::simd::Simd), compiled for each set of instructions.

/// Compiles kernels for every set of [`Instructions`](super::kernels::Instructions): `name[constants] =
/// function(argument);` becomes a function `name` with the set's target features, which `function`, generic over the
/// vectors and the constants, is inlined into.
///
/// `$table` is a macro that makes a `Kernels` of these functions, given the vectors. `compiled` returns that of a set.
macro_rules! compile {
    ($table:ident; $($kernels:tt)+) => {
        $crate::network::cpu::dispatch::compile!(@set portable, Portable, []; $table; $($kernels)+);
        #[cfg(target_arch = "x86_64")]
        $crate::network::cpu::dispatch::compile!(@set avx2, Avx2, ["avx2,fma"]; $table; $($kernels)+);
        #[cfg(target_arch = "x86_64")]
        $crate::network::cpu::dispatch::compile!(@set avx512, Avx512, ["avx512f,avx2,fma"]; $table; $($kernels)+);

        /// The kernels for a set of instructions that this processor has.
        fn compiled(instructions: $crate::network::cpu::kernels::Instructions) -> &'static Kernels {
            use $crate::network::cpu::kernels::Instructions;
            match instructions {
                Instructions::Portable => &portable::KERNELS,
                #[cfg(target_arch = "x86_64")]
                Instructions::Avx2 => &avx2::KERNELS,
                #[cfg(target_arch = "x86_64")]
                Instructions::Avx512 => &avx512::KERNELS,
                #[cfg(not(target_arch = "x86_64"))]
                _ => unreachable!("no other processor has them"),
            }
        }
    };
    (@set $module:ident, $simd:ident, [$($features:literal)?]; $table:ident; $($kernels:tt)+) => {
        mod $module {
            use super::*;
            use $crate::network::cpu::simd::$simd;

            pub static KERNELS: Kernels = $table!($simd);

            $crate::network::cpu::dispatch::compile!(@functions $simd, [$($features)?]; $($kernels)+);
        }
    };
    (@functions $simd:ident, [$($features:literal)?];) => {};
    (@functions $simd:ident, [$($features:literal)?];
        $name:ident $([$($constant:ident),+])? = $($function:ident)::+($argument:ty);
        $($rest:tt)*
    ) => {
        $(#[target_feature(enable = $features)])?
        unsafe fn $name $(<$(const $constant: usize),+>)? (argument: &$argument) {
            // SAFETY: the caller's promise; the features are those of the vectors.
            unsafe { $($function)::+::<$simd $($(, $constant)+)?>(argument) }
        }

        $crate::network::cpu::dispatch::compile!(@functions $simd, [$($features)?]; $($rest)*);
    };
}

pub(crate) use compile;
