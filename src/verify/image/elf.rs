//! What an ELF file asks of the loader: its soname, what it needs, and where it wants that looked for.
//!
//! Only the program headers, the dynamic segment and the strings that it names are read: a library of torch's has
//! a gigabyte.

use std::path::Path;

use fs_err::File;
use object::LittleEndian;
use object::elf::{DT_NEEDED, DT_RPATH, DT_RUNPATH, DT_SONAME, DT_STRSZ, DT_STRTAB};
use object::elf::{Dyn64, FileHeader64, PT_LOAD, ProgramHeader64};
use object::read::elf::{Dyn as _, FileHeader as _, ProgramHeader as _};
use object::read::{ReadCache, StringTable};

/// A file that is no library for this kind of machine, or cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ElfError {
    /// The system's words.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The reader's words.
    #[error("it is no 64-bit ELF file of a little-endian machine: {0}")]
    Form(#[from] object::read::Error),
    /// Its dynamic segment points nowhere.
    #[error("its dynamic segment names strings outside of the file")]
    Strings,
}

/// What a file asks for. Folders are as they stand there, with `$ORIGIN`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wants {
    /// `e_machine`: 62 is x86-64, 183 is AArch64.
    pub machine: u16,
    /// The name by which others need it.
    pub soname: Option<String>,
    /// Names of libraries.
    pub needed: Vec<String>,
    /// DT_RPATH, which counts before LD_LIBRARY_PATH; none where there is a DT_RUNPATH as well.
    pub rpath: Vec<String>,
    /// DT_RUNPATH, which counts behind LD_LIBRARY_PATH, and for this file alone.
    pub runpath: Option<Vec<String>>,
}

type Header = FileHeader64<LittleEndian>;

/// Reads a file.
pub fn read(path: &Path) -> Result<Wants, ElfError> {
    let cache = ReadCache::new(File::open(path)?);
    let data = &cache;
    let header = Header::parse(data)?;
    let endian = header.endian()?;
    let segments = header.program_headers(endian, data)?;
    let mut wants = Wants { machine: header.e_machine(endian).0, ..Wants::default() };
    let mut entries: Vec<&Dyn64<LittleEndian>> = Vec::new();
    for segment in segments {
        entries.extend(segment.dynamic(endian, data)?.into_iter().flatten());
    }
    let value = |tag| {
        let entry = entries.iter().find(|entry| entry.d_tag(endian) == tag)?;
        Some(entry.d_val(endian))
    };
    let (Some(address), Some(size)) = (value(DT_STRTAB), value(DT_STRSZ)) else {
        return Ok(wants);
    };
    let start = offset(segments, endian, address).ok_or(ElfError::Strings)?;
    let end = start.checked_add(size).ok_or(ElfError::Strings)?;
    let strings = StringTable::new(data, start, end);
    let text = |at: u64| {
        let bytes = u32::try_from(at).ok().and_then(|at| strings.get(at).ok());
        bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned()).ok_or(ElfError::Strings)
    };
    let folders = |at: u64| -> Result<Vec<String>, ElfError> {
        Ok(text(at)?.split(':').filter(|part| !part.is_empty()).map(str::to_owned).collect())
    };
    for entry in &entries {
        let value = entry.d_val(endian);
        match entry.d_tag(endian) {
            DT_NEEDED => wants.needed.push(text(value)?),
            DT_SONAME => wants.soname = Some(text(value)?),
            DT_RPATH => wants.rpath = folders(value)?,
            DT_RUNPATH => wants.runpath = Some(folders(value)?),
            _ => (),
        }
    }
    if wants.runpath.is_some() {
        wants.rpath.clear();
    }
    Ok(wants)
}

/// Where in the file an address of its memory lies.
fn offset(
    segments: &[ProgramHeader64<LittleEndian>],
    endian: LittleEndian,
    address: u64,
) -> Option<u64> {
    let inside = |segment: &&ProgramHeader64<LittleEndian>| {
        let from = segment.p_vaddr(endian);
        segment.p_type(endian) == PT_LOAD
            && address >= from
            && address - from < segment.p_filesz(endian)
    };
    let segment = segments.iter().find(inside)?;
    segment.p_offset(endian).checked_add(address - segment.p_vaddr(endian))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_file_is_an_error_and_no_panic() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x");
        let whole = fs_err::read(std::env::current_exe().expect("a program")).expect("bytes");
        let cuts = [0, 3, 16, 63, 64, 65, 300, 4096];
        for cut in cuts.into_iter().filter(|cut| *cut < whole.len()) {
            fs_err::write(&path, &whole[..cut]).expect("a file");
            let _ = read(&path);
        }
        fs_err::write(&path, "#!/bin/sh\n").expect("a file");
        assert!(matches!(read(&path), Err(ElfError::Form(_))));
        assert!(matches!(read(&folder.path().join("gone")), Err(ElfError::Io(_))));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_very_program() {
        let wants = read(&std::env::current_exe().expect("a program")).expect("an ELF file");
        assert!(wants.needed.iter().any(|name| name.starts_with("libc.so")), "{wants:?}");
    }
}
