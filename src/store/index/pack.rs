//! Packing: sled's entries go into a new packed part, so that sled stays small however much a run stores. (It keeps some 200
//! bytes in memory for each leaf, and a leaf has at most 16 entries.)
//!
//! One entry of `meta` names the generation that counts, so that a process which is killed at any moment leaves one of the two
//! whole. The next opening removes what is left of the other.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::disk::{most_beside, packed_name, tree_name};
use super::{Applied, Index, META_APPLIED, number_in_file, open_packed};
use crate::actor::fail_point;
use crate::store::StoreError;
use crate::store::packed::PackedWriter;
use crate::store::trees::{META, hash_of};

fn failed(source: sled::Error) -> StoreError {
    StoreError::database("be packed", source)
}

impl Index {
    /// Packs sled's entries if they are many, unless somebody still reads those of the generation before. Where the packed part
    /// cannot be written, for a full disk perhaps, sled keeps them.
    ///
    /// # Errors
    /// As [`Index::check`], and any error of sled.
    pub(in crate::store) fn pack_if_large(&self, applied: Applied) -> Result<Applied, StoreError> {
        let Some(disk) = &self.disk else { return Ok(applied) };
        if !disk.has_many_entries()? {
            return Ok(applied);
        }
        self.check(applied)?;
        let generation = applied.generation + 1;
        let path = disk.folder.join(packed_name(generation));
        let check = match self.write_packed(&path)? {
            Ok(check) => check,
            Err(error) => {
                tracing::warn!("the database of the store stays larger than needed: {}: {error}", path.display());
                let _the_next_opening_does_it = std::fs::remove_file(&path);
                let mut live = disk.live();
                live.most_entries = live.num_entries.saturating_mul(2);
                return Ok(applied);
            }
        };
        let (packed, fresh) = (open_packed(&path, check)?, disk.open_trees(generation)?);
        let mut sum = 0_u64;
        for entry in &fresh[META] {
            let (key, value) = entry.map_err(failed)?;
            sum = sum.wrapping_add(if key == META_APPLIED { 0 } else { hash_of(META, &key, &value) });
        }
        let after = Applied { packed: Some(check), generation, sum, ..applied };
        fail_point("index.before_generation");
        self.set_applied(after)?;
        // Before the old packed part goes: what sled has not flushed, a power failure undoes.
        disk.db.flush().map_err(failed)?;
        fail_point("index.after_generation");
        let mut live = disk.live();
        for (number, fresh) in fresh.into_iter().enumerate().filter(|(number, _)| *number != META) {
            live.retired.extend(self.trees[number].sled().map(|old| (tree_name(number, applied.generation), old)));
            self.trees[number].replace(fresh, Arc::clone(&packed));
        }
        (live.num_entries, live.most_entries) = (0, most_beside(Some(&packed)));
        disk.remove_retired(&mut live)?;
        let _the_next_opening_does_it = std::fs::remove_file(disk.folder.join(packed_name(applied.generation)));
        Ok(after)
    }

    /// Writes a packed part with all entries but those of `meta`. The inner error is one of writing.
    fn write_packed(&self, path: &Path) -> Result<io::Result<u64>, StoreError> {
        let _of_a_killed_process = std::fs::remove_file(path);
        let mut packed = match PackedWriter::create(path) {
            Ok(packed) => packed,
            Err(error) => return Ok(Err(error)),
        };
        for (number, tree) in self.trees.iter().enumerate().filter(|(number, _)| *number != META) {
            let (number, mut entries) = (number_in_file(number), tree.iter());
            loop {
                let put = if let Some(block) = entries.next_whole_block().map_err(failed)? {
                    packed.put_block(number, &block)
                } else if let Some(entry) = entries.next() {
                    let (key, value) = entry.map_err(failed)?;
                    packed.put(number, &key, &value)
                } else {
                    break;
                };
                if let Err(error) = put {
                    return Ok(Err(error));
                }
            }
        }
        let folder = path.parent().unwrap_or(path);
        Ok(packed.finish().and_then(|check| File::open(folder)?.sync_all().map(|()| check)))
    }
}
