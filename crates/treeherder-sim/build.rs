//! Compresses the recordings, which are compiled into the crate, to a tenth.

#![expect(clippy::disallowed_methods, reason = "a build that is interrupted runs this again")]

use std::io::Write as _;
use std::path::PathBuf;
use std::{env, fs, io};

use flate2::Compression;
use flate2::write::GzEncoder;

fn main() -> io::Result<()> {
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?);
    println!("cargo::rerun-if-changed=corpus");
    for entry in fs::read_dir("corpus")? {
        let entry = entry?;
        let mut packed = GzEncoder::new(Vec::new(), Compression::default());
        packed.write_all(&fs::read(entry.path())?)?;
        fs::write(out.join(format!("{}.gz", entry.file_name().display())), packed.finish()?)?;
    }
    Ok(())
}
