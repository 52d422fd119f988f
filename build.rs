//! With the feature `cuda`, compiles the CUDA kernels, where there is an nvcc, into one fatbin that the library embeds; and,
//! with the feature `emulator`, the same kernels for the host. Without nvcc the crate builds, and says at run time why CUDA
//! is missing.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Architectures with code of their own, the oldest first; the last is shipped as PTX too, for what comes after.
const ARCHITECTURES: [&str; 7] = ["75", "80", "86", "89", "90a", "100", "120"];
/// Limits them: a list with commas.
const LIMIT: &str = "ICHOR_CUDA_ARCHITECTURES";
/// The oldest nvcc that knows all of them.
const OLDEST_NVCC: u32 = 13;

fn main() {
    println!("cargo::rustc-check-cfg=cfg(ichor_fatbin)");
    println!("cargo::rerun-if-changed=build.rs");
    if cfg!(feature = "cuda") {
        embed_kernels();
    }
    #[cfg(feature = "emulator")]
    compile_for_host();
}

fn embed_kernels() {
    println!("cargo::rerun-if-changed=kernels");
    for variable in ["NVCC", "CUDA_HOME", "PATH", LIMIT] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    let architectures = architectures();
    println!("cargo::rustc-env=ICHOR_ARCHITECTURES={}", architectures.join(","));
    match find_nvcc() {
        Ok(nvcc) => {
            println!("cargo::rerun-if-changed={}", nvcc.display());
            compile_fatbin(&nvcc, &architectures);
            println!("cargo::rustc-cfg=ichor_fatbin");
        }
        Err(reason) => println!("cargo::rustc-env=ICHOR_NO_FATBIN={reason}"),
    }
}

/// The architectures to compile for, in the order of their age: all, or those that ICHOR_CUDA_ARCHITECTURES names.
fn architectures() -> Vec<&'static str> {
    let Some(wanted) = std::env::var_os(LIMIT).filter(|wanted| !wanted.is_empty()) else { return ARCHITECTURES.to_vec() };
    let wanted = wanted.to_string_lossy();
    let wanted: Vec<&str> = wanted.split(',').map(str::trim).collect();
    let unknown = wanted.iter().find(|name| !ARCHITECTURES.contains(name));
    if let Some(name) = unknown {
        // A build that runs on other GPUs than those that were asked for would be found out too late.
        panic!("{LIMIT} names {name:?}: give some of {} with commas between them", ARCHITECTURES.join(","));
    }
    ARCHITECTURES.into_iter().filter(|name| wanted.contains(name)).collect()
}

/// nvcc as NVCC, CUDA_HOME or PATH name it, or why none can be used.
fn find_nvcc() -> Result<PathBuf, String> {
    const ADVICE: &str = "scripts/install-nvcc brings one that fits: build again with NVCC naming it";
    let named = std::env::var_os("NVCC").map(PathBuf::from);
    let home = std::env::var_os("CUDA_HOME").map(|home| Path::new(&home).join("bin/nvcc"));
    // A compiler that was named and is not there is a mistake, not a wish for another one.
    for (variable, path) in [("NVCC", &named), ("CUDA_HOME", &home)] {
        if let Some(path) = path.as_ref().filter(|path| !path.is_file()) {
            return Err(format!("{variable} led to {}, which is no file, when ichor was built; {ADVICE}", path.display()));
        }
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = || std::env::split_paths(&path).map(|folder| folder.join("nvcc")).find(|candidate| candidate.is_file());
    let nvcc = named
        .or(home)
        .or_else(in_path)
        .ok_or_else(|| format!("no nvcc was found by NVCC, CUDA_HOME or PATH when ichor was built; {ADVICE}"))?;
    let output = Command::new(&nvcc).arg("--version").output().map_err(|e| format!("{} cannot be run: {e}", nvcc.display()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let major =
        text.split("release ").nth(1).and_then(|rest| rest.split('.').next()).and_then(|number| number.parse::<u32>().ok());
    match major {
        Some(major) if major >= OLDEST_NVCC => Ok(nvcc),
        Some(major) => Err(format!("{} is of CUDA {major}, and ichor needs {OLDEST_NVCC} or later; {ADVICE}", nvcc.display())),
        None => Err(format!("{} --version does not name a release", nvcc.display())),
    }
}

fn compile_fatbin(nvcc: &Path, architectures: &[&str]) {
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("ichor.fatbin");
    let mut command = Command::new(nvcc);
    command.args(["-O3", "-std=c++17", "--threads", "0", "--fatbin", "-Werror", "all-warnings"]);
    for architecture in architectures {
        command.arg(format!("-gencode=arch=compute_{architecture},code=sm_{architecture}"));
    }
    // What is newer than all of them compiles the PTX of the last. With an `a` it would be for that GPU alone.
    if let Some(newest) = architectures.last().filter(|newest| !newest.ends_with('a')) {
        command.arg(format!("-gencode=arch=compute_{newest},code=compute_{newest}"));
    }
    let output = command.arg("kernels/ichor.cu").arg("-o").arg(&out).output();
    let output = output.unwrap_or_else(|e| panic!("{} cannot be run: {e}", nvcc.display()));
    assert!(
        output.status.success(),
        "{} could not compile kernels/ichor.cu:\n{}{}",
        nvcc.display(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[cfg(feature = "emulator")]
fn compile_for_host() {
    println!("cargo::rerun-if-changed=src/network/emulator");
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .opt_level(3)
        .flag_if_supported("-Wno-unknown-pragmas")
        .flag_if_supported("-ffp-contract=off")
        .include("src/network/emulator")
        .files(["async", "device", "fiber", "kernels"].map(|name| format!("src/network/emulator/{name}.cpp")))
        .compile("ichor_emulator");
}
