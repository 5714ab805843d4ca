//! Where libclang may be, besides `LIBCLANG_PATH`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// Folders with a `*` for one level that differs between machines.
const FOLDERS: [&str; 9] = [
    "/usr/lib/llvm-*/lib",
    "/usr/lib/*-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
    "/usr/local/lib",
    "/opt/homebrew/opt/llvm/lib",
    "/usr/local/opt/llvm/lib",
    "/Library/Developer/CommandLineTools/usr/lib",
    "/Applications/Xcode.app/Contents/Developer/Toolchains/XcodeDefault.xctoolchain/usr/lib",
];

/// Of these folders, the ones that RocksDB's build script does not know.
const UNKNOWN_TO_BUILD_SCRIPTS: &str = "/opt/homebrew";

/// Finds the library.
pub fn find() -> Option<PathBuf> {
    if let Some(folder) = env::var_os("LIBCLANG_PATH") {
        return in_folder(Path::new(&folder));
    }
    FOLDERS.iter().flat_map(|pattern| expand(pattern)).find_map(|folder| in_folder(&folder))
}

/// The library's folder, where build scripts would not look for it themselves.
pub fn to_be_told() -> Option<PathBuf> {
    if env::var_os("LIBCLANG_PATH").is_some() {
        return None;
    }
    find()?.parent().filter(|folder| folder.starts_with(UNKNOWN_TO_BUILD_SCRIPTS)).map(Path::to_path_buf)
}

/// Whether the headers that belong to the library are there too: on Debian they are a package of their own,
/// and without them RocksDB's header cannot be read.
pub fn has_headers() -> bool {
    const FOLDERS: [&str; 2] = ["/usr/lib/llvm-*/lib/clang", "/usr/lib/clang/*"];
    let versions = FOLDERS.iter().flat_map(|pattern| expand(pattern)).flat_map(|folder| children(&folder));
    versions.into_iter().any(|version| version.join("include/stddef.h").is_file() || version.join("stddef.h").is_file())
}

fn children(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn in_folder(folder: &Path) -> Option<PathBuf> {
    let mut libraries: Vec<_> = fs::read_dir(folder)
        .ok()?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.file_name().is_some_and(|name| is_libclang(&name.to_string_lossy())))
        .collect();
    libraries.sort();
    libraries.pop()
}

/// `libclang.so`, `libclang-14.so.1`, `libclang.dylib`; not `libclang-cpp.so`, which has no C interface.
fn is_libclang(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("libclang") else {
        return false;
    };
    let rest = match rest.strip_prefix('-') {
        Some(version) => version.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == '.'),
        None => rest,
    };
    let shared = rest.starts_with("so") || rest.starts_with(".so") || rest.starts_with(".dylib");
    shared && !name.starts_with("libclang-cpp")
}

fn expand(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once('*') else {
        return vec![pattern.into()];
    };
    let (parent, prefix) = before.rsplit_once('/').unwrap_or(("", before));
    let (suffix, below) = after.split_once('/').unwrap_or((after, ""));
    let mut found: Vec<_> = fs::read_dir(parent)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name.starts_with(prefix) && name.ends_with(suffix)
        })
        .map(|entry| entry.path().join(below))
        .collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_c_interface_is_told_from_its_neighbours() {
        for (name, wanted) in [
            ("libclang.so", true),
            ("libclang.so.1", true),
            ("libclang-14.so.1", true),
            ("libclang-14.so.14.0.6", true),
            ("libclang.dylib", true),
            ("libclang-cpp.so.14", false),
            ("libclang-cpp.dylib", false),
            ("libclang.a", false),
            ("libclangAST.a", false),
            ("libclang_rt.asan.so", false),
        ] {
            assert_eq!(is_libclang(name), wanted, "{name}");
        }
    }

    #[test]
    fn a_pattern_stands_for_the_folders_that_exist() {
        let root = tempfile::tempdir().unwrap();
        for folder in ["llvm-14/lib", "llvm-19/lib", "gcc/lib"] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        let pattern = format!("{}/llvm-*/lib", root.path().display());
        let found: Vec<_> = ["llvm-14/lib", "llvm-19/lib"].map(|folder| root.path().join(folder)).into();
        assert_eq!(expand(&pattern), found);
    }
}
