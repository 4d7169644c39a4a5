//! The place of an output: symbolic links are followed, and only a regular file is replaced. Its folder is made.

use std::io;
use std::path::{Path, PathBuf};

use super::error::ArtifactError;

/// Links that are followed at most, as the system does.
const MAX_LINKS: usize = 40;

/// The file that an output at `path` replaces or creates: the target of a symbolic link, not the link. Nothing is opened.
///
/// # Errors
/// [`ArtifactError::NotAFile`] for everything that cannot be replaced by a file: a folder, a pipe, a device.
/// [`ArtifactError::Folder`] when the system refuses to tell.
pub fn resolve(path: &Path) -> Result<PathBuf, ArtifactError> {
    let mut place = path.to_owned();
    for _ in 0..MAX_LINKS {
        let failed = |source| ArtifactError::Folder { folder: folder_of(&place).to_owned(), source };
        let not_a_file = |kind| ArtifactError::NotAFile { path: path.to_owned(), kind };
        if place.file_name().is_none() {
            return Err(not_a_file("a folder"));
        }
        let metadata = match std::fs::symlink_metadata(&place) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(place),
            Err(source) => return Err(failed(source)),
        };
        if !metadata.is_symlink() {
            return kind_of(metadata.file_type()).map_or(Ok(place), |kind| Err(not_a_file(kind)));
        }
        // A link in /proc to a pipe names no path, so look at its target first.
        if let Ok(target) = std::fs::metadata(&place)
            && let Some(kind) = kind_of(target.file_type())
        {
            return Err(not_a_file(kind));
        }
        let target = std::fs::read_link(&place).map_err(failed)?;
        place = folder_of(&place).join(target);
    }
    Err(ArtifactError::NotAFile { path: path.to_owned(), kind: "a circle of symbolic links" })
}

/// The folder of a file.
#[must_use]
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The folders that were made for outputs. Dropping it removes those that are still empty.
#[derive(Debug)]
#[must_use = "dropping it removes the folder while that is empty"]
pub struct MadeFolders(Vec<PathBuf>);

/// Makes `folder` if it is missing, and checks that files can be created in it.
///
/// # Errors
/// [`ArtifactError::Folder`].
pub fn make_folder(folder: &Path) -> Result<MadeFolders, ArtifactError> {
    let failed = |source| ArtifactError::Folder { folder: folder.to_owned(), source };
    let mut made = MadeFolders(Vec::new());
    let is_missing = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
    let missing: Vec<&Path> = folder.ancestors().take_while(is_missing).collect();
    for path in missing.into_iter().rev() {
        match std::fs::create_dir(path) {
            Ok(()) => made.0.push(path.to_owned()),
            Err(_) if path.is_dir() => {} // another process was faster
            Err(source) => return Err(failed(source)),
        }
    }
    tempfile::tempfile_in(folder).map_err(failed)?;
    Ok(made)
}

impl Drop for MadeFolders {
    fn drop(&mut self) {
        for path in self.0.iter().rev() {
            let _holds_outputs = std::fs::remove_dir(path);
        }
    }
}

/// Names what is not a regular file.
fn kind_of(kind: std::fs::FileType) -> Option<&'static str> {
    if kind.is_file() {
        None
    } else if kind.is_dir() {
        Some("a folder")
    } else {
        Some("a pipe or a device")
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_are_followed_to_a_file_that_is_there_or_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::create_dir(path("disk")).unwrap();
        symlink("disk/file", path("relative")).unwrap();
        symlink(path("relative"), path("absolute")).unwrap();
        symlink("circle", path("circle")).unwrap();
        assert_eq!(resolve(&path("new")).unwrap(), path("new"));
        assert_eq!(resolve(&path("absolute")).unwrap(), path("disk/file"));
        assert!(matches!(resolve(&path("circle")), Err(ArtifactError::NotAFile { .. })));
        assert_eq!(resolve(Path::new("name")).unwrap(), Path::new("name"));
    }

    #[test]
    fn folders_that_were_made_are_removed_while_they_are_empty() {
        let folder = tempfile::tempdir().unwrap();
        let [there, inner] = ["there", "there/a/b"].map(|name| folder.path().join(name));
        std::fs::create_dir(&there).unwrap();
        drop(make_folder(&there).unwrap());
        let made = make_folder(&inner).unwrap();
        assert!(inner.is_dir());
        drop(made);
        assert_eq!(std::fs::read_dir(&there).unwrap().count(), 0, "neither is left, and the older one is");
        let made = make_folder(&inner).unwrap();
        std::fs::create_dir(there.join("a/output")).unwrap();
        drop(made);
        assert!(!inner.exists() && there.join("a/output").exists());
        symlink("nowhere", there.join("link")).unwrap();
        std::fs::File::create_new(there.join("file")).unwrap();
        for path in ["there/a/output/x/../../../link/x", "there/link", "there/file"] {
            assert!(matches!(make_folder(&folder.path().join(path)), Err(ArtifactError::Folder { .. })), "{path}");
        }
        assert_eq!(std::fs::read_dir(there.join("a/output")).unwrap().count(), 0, "nor is half of a path");
    }

    #[test]
    fn folders_pipes_and_devices_are_refused_also_behind_links() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        assert!(std::process::Command::new("mkfifo").arg(path("pipe")).status().unwrap().success());
        symlink("pipe", path("to_pipe")).unwrap();
        symlink("/dev/null", path("to_device")).unwrap();
        let refused = [path("pipe"), path("to_pipe"), path("to_device"), folder.path().to_owned(), path("..")];
        for path in refused {
            assert!(matches!(resolve(&path), Err(ArtifactError::NotAFile { .. })), "{}", path.display());
        }
    }
}
