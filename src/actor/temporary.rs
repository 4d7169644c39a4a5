//! Temporary files that take the place of others, and files that must not be links.

use std::fs::OpenOptions;

use tempfile::Builder;

/// Makes temporary files with the permissions of any new file, which the umask decides; tempfile's own are private.
pub(crate) fn temporary_file<'a>(prefix: &'a str, suffix: &'a str) -> Builder<'a, 'a> {
    let mut builder = Builder::new();
    builder.prefix(prefix).suffix(suffix);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder
}

/// Refuses to open a symbolic link: other users may be able to write to the folder of a store, and a link could lead
/// out of it.
pub(crate) fn no_follow(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        let flag = rustix::fs::OFlags::NOFOLLOW.bits();
        options.custom_flags(i32::try_from(flag).unwrap_or_default());
    }
    options
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_not_followed_and_a_file_is_opened() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        no_follow(OpenOptions::new().write(true).create_new(true)).open(path("file")).unwrap();
        std::os::unix::fs::symlink("file", path("link")).unwrap();
        assert!(no_follow(OpenOptions::new().read(true)).open(path("file")).is_ok());
        assert!(no_follow(OpenOptions::new().read(true)).open(path("link")).is_err());
    }
}
