//! The packed part of the database: the entries that were there when it was built or packed, in one file that never changes.
//! sled takes some 250 bytes of disk for an entry of 50, and a part of the memory for its page; here an entry takes 20 to 40
//! bytes.
//!
//! In: the entries of all trees, in order. Out: one entry, or those from a key on, in order.
//!
//! The file: blocks, the directory of the blocks, the length of the directory (8 bytes, little-endian), a magic. A block is a
//! frame with some kilobytes of entries of one tree; each entry is the number of first bytes that its key shares with the key
//! before, the lengths of the rest of the key and of the value (varints), the rest, the value. The directory is a frame with,
//! for each block: its tree (1 byte), its length, the length of its first key (varints), that key.
//!
//! One checksum over the whole file is kept in sled, and compared when the database is opened. The log can build the file
//! again.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufWriter, Read as _, Write as _};
use std::ops::Range;
use std::path::Path;
use std::rc::Rc;

use xxhash_rust::xxh3::Xxh3;

use super::columns::{VarintReader, put_varint};
use super::frame;
use super::value_log::read_exact_at;
use crate::actor::fail_point;

/// In the folder of the database, beside sled's files. From the second generation on, its number follows.
pub(super) const NAME: &str = "packed";

const MAGIC: [u8; 8] = *b"\xf5PHPAK\r\n";
const TRAILER_BYTES: u64 = 8 + MAGIC.len() as u64;

/// Bytes of entries per block, about. One entry costs the reading of a whole block, and larger blocks are compressed better.
const BLOCK_BYTES: usize = if cfg!(debug_assertions) { 512 } else { 8 << 10 };

/// Blocks that each thread keeps: readers go through several ranges of keys side by side.
const BLOCKS_KEPT: usize = 8;

/// Writes the packed part. The entries come by tree, then by key, each once.
pub(super) struct PackedWriter {
    out: BufWriter<File>,
    hash: Xxh3,
    directory: Vec<u8>,
    block: Vec<u8>,
    tree: u8,
    first: Vec<u8>,
    last: Vec<u8>,
}

impl PackedWriter {
    /// Creates the file.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let out = BufWriter::with_capacity(1 << 18, File::create_new(path)?);
        let (block, directory) = (Vec::new(), Vec::new());
        Ok(Self { out, hash: Xxh3::new(), directory, block, tree: 0, first: Vec::new(), last: Vec::new() })
    }

    pub(super) fn put(&mut self, tree: u8, key: &[u8], value: &[u8]) -> io::Result<()> {
        if tree != self.tree || self.block.len() >= BLOCK_BYTES {
            self.end_block()?;
        }
        if self.block.is_empty() {
            self.tree = tree;
            self.first = key.to_vec();
            self.last.clear();
        }
        let shared = self.last.iter().zip(key).take_while(|(last, byte)| last == byte).count();
        for number in [shared, key.len() - shared, value.len()] {
            put_varint(number as u64, &mut self.block);
        }
        self.block.extend_from_slice(&key[shared..]);
        self.block.extend_from_slice(value);
        self.last.truncate(shared);
        self.last.extend_from_slice(&key[shared..]);
        Ok(())
    }

    fn end_block(&mut self) -> io::Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        let framed = frame::seal(&self.block);
        self.block.clear();
        fail_point("index.mid_rebuild");
        let first = std::mem::take(&mut self.first);
        self.write_block(self.tree, &first, &framed)
    }

    fn write_block(&mut self, tree: u8, first: &[u8], framed: &[u8]) -> io::Result<()> {
        self.directory.push(tree);
        put_varint(framed.len() as u64, &mut self.directory);
        put_varint(first.len() as u64, &mut self.directory);
        self.directory.extend_from_slice(first);
        self.write(framed)
    }

    /// Puts a whole block of another packed part, behind all entries so far.
    pub(super) fn put_block(&mut self, tree: u8, WholeBlock { first, framed }: &WholeBlock) -> io::Result<()> {
        self.end_block()?;
        self.write_block(tree, first, framed)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.out.write_all(bytes)
    }

    /// Ends the file, durably. Returns its checksum.
    pub(super) fn finish(mut self) -> io::Result<u64> {
        self.end_block()?;
        let directory = frame::seal(&self.directory);
        self.write(&directory)?;
        self.write(&(directory.len() as u64).to_le_bytes())?;
        self.write(&MAGIC)?;
        self.out.flush()?;
        self.out.get_ref().sync_all()?;
        Ok(self.hash.digest())
    }
}

#[derive(Debug)]
struct BlockAt {
    tree: u8,
    first: Box<[u8]>,
    offset: u64,
    len: u32,
}

/// The packed part of an open database.
#[derive(Debug)]
pub(super) struct Packed {
    file: File,
    check: u64,
    blocks: Vec<BlockAt>,
}

/// A block as it is in the file, undamaged.
#[derive(Debug)]
pub(super) struct WholeBlock {
    first: Box<[u8]>,
    framed: Vec<u8>,
}

type Block = Rc<[u8]>;

/// A block that a thread keeps, with its last place in it: the next key is mostly a later one.
#[derive(Debug)]
struct Kept {
    check: u64,
    number: usize,
    block: Block,
    cursor: Cursor,
}

thread_local! {
    /// The latest one last.
    static BLOCKS: RefCell<Vec<Kept>> = const { RefCell::new(Vec::new()) };
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("its packed part {what}"))
}

impl Packed {
    /// Opens the file with the checksum `check`, and reads all of it.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] if it is damaged, [`io::ErrorKind::NotFound`] if it is missing.
    pub(super) fn open(path: &Path, check: u64) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let (mut hash, mut len, mut bytes) = (Xxh3::new(), 0_u64, vec![0; 1 << 18]);
        loop {
            let read = match file.read(&mut bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            if read == 0 {
                break;
            }
            hash.update(&bytes[..read]);
            len += read as u64;
        }
        if hash.digest() != check {
            return Err(damaged("does not hold what was written into it"));
        }
        let malformed = || damaged("has another form");
        let mut trailer = [0; 8];
        let trailer_at = len.checked_sub(TRAILER_BYTES).ok_or_else(malformed)?;
        read_exact_at(&file, &mut trailer, trailer_at)?;
        let directory_len = u64::from_le_bytes(trailer);
        let directory_at = trailer_at.checked_sub(directory_len).ok_or_else(malformed)?;
        let mut framed = vec![0; usize::try_from(directory_len).map_err(|_| malformed())?];
        read_exact_at(&file, &mut framed, directory_at)?;
        let mut directory = Vec::new();
        frame::open(&framed, &mut directory).map_err(|_| malformed())?;
        let blocks = read_directory(&directory).ok_or_else(malformed)?;
        Ok(Self { file, check, blocks })
    }

    /// Length of the file.
    pub(super) fn bytes(&self) -> u64 {
        self.file.metadata().map_or(0, |file| file.len())
    }

    /// The number of blocks, each of some kilobytes.
    pub(super) const fn num_blocks(&self) -> usize {
        self.blocks.len()
    }

    /// Takes block `number` out of those that the thread keeps, or reads it.
    fn take_block(&self, number: usize) -> io::Result<Kept> {
        let kept = BLOCKS.with_borrow_mut(|blocks| {
            let at = blocks.iter().position(|kept| (kept.check, kept.number) == (self.check, number));
            at.map(|at| blocks.remove(at))
        });
        if let Some(kept) = kept {
            return Ok(kept);
        }
        let (framed, mut raw) = (self.read_framed(number)?, Vec::new());
        frame::open(&framed, &mut raw).map_err(|error| damaged(&format!("is damaged: {error}")))?;
        Ok(Kept { check: self.check, number, block: raw.into(), cursor: Cursor::default() })
    }

    fn read_framed(&self, number: usize) -> io::Result<Vec<u8>> {
        let at = &self.blocks[number];
        let mut framed = vec![0; at.len as usize];
        read_exact_at(&self.file, &mut framed, at.offset)?;
        Ok(framed)
    }

    /// Block `number`, if it exists and is one of that tree.
    fn block_of(&self, tree: u8, number: usize) -> Option<&BlockAt> {
        self.blocks.get(number).filter(|block| block.tree == tree)
    }

    fn keep(kept: Kept) {
        BLOCKS.with_borrow_mut(|blocks| {
            if blocks.len() >= BLOCKS_KEPT {
                blocks.remove(0);
            }
            blocks.push(kept);
        });
    }

    /// The number of the only block that may hold `key`, or of the first one behind it.
    fn find(&self, tree: u8, key: &[u8]) -> usize {
        let behind = self.blocks.partition_point(|block| (block.tree, block.first.as_ref()) <= (tree, key));
        match behind.checked_sub(1) {
            Some(before) if self.blocks[before].tree == tree => before,
            _ => behind,
        }
    }

    /// Passes the value at `key` to `read`; `None` without a value.
    pub(super) fn get<T>(&self, tree: u8, key: &[u8], read: impl FnOnce(&[u8]) -> T) -> io::Result<Option<T>> {
        let number = self.find(tree, key);
        if self.block_of(tree, number).is_none_or(|block| block.first.as_ref() > key) {
            return Ok(None);
        }
        let mut kept = self.take_block(number)?;
        kept.cursor.seek(&kept.block, key)?;
        let value = kept.cursor.entry(&kept.block).filter(|(found, _)| *found == key).map(|(_, value)| read(value));
        Self::keep(kept);
        Ok(value)
    }
}

fn read_directory(directory: &[u8]) -> Option<Vec<BlockAt>> {
    let mut blocks = Vec::new();
    let (mut rest, mut offset) = (VarintReader::new(directory), 0_u64);
    while let Some((&tree, behind)) = rest.rest().split_first() {
        rest = VarintReader::new(behind);
        let len = u32::try_from(rest.varint().ok()?).ok()?;
        let key_len = usize::try_from(rest.varint().ok()?).ok()?;
        let (first, behind) = rest.rest().split_at_checked(key_len)?;
        rest = VarintReader::new(behind);
        blocks.push(BlockAt { tree, first: first.into(), offset, len });
        offset += u64::from(len);
    }
    Some(blocks)
}

/// An entry of a block.
#[derive(Clone, Debug, Default)]
struct Cursor {
    key: Vec<u8>,
    value: Range<usize>,
    /// Where the next entry begins.
    next: usize,
    /// Before the first entry, and behind the last one, there is none.
    is_at_entry: bool,
}

impl Cursor {
    fn entry<'a>(&'a self, block: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
        self.is_at_entry.then(|| (self.key.as_slice(), &block[self.value.clone()]))
    }

    /// Goes to the next entry.
    fn advance(&mut self, block: &[u8]) -> io::Result<()> {
        self.is_at_entry = self.next < block.len();
        if self.is_at_entry {
            self.read(block).ok_or_else(|| damaged("has a block that is cut off"))?;
        }
        Ok(())
    }

    fn read(&mut self, block: &[u8]) -> Option<()> {
        let mut rest = VarintReader::new(block.get(self.next..)?);
        let mut number = || usize::try_from(rest.varint().ok()?).ok();
        let (shared, key_len, value_len) = (number()?, number()?, number()?);
        let key_at = block.len() - rest.rest().len();
        let value_at = key_at.checked_add(key_len)?;
        let end = value_at.checked_add(value_len).filter(|end| *end <= block.len())?;
        self.key.truncate(shared);
        self.key.extend_from_slice(&block[key_at..value_at]);
        (self.value, self.next) = (value_at..end, end);
        Some(())
    }

    /// Goes to the first entry that is not before `key`, if there is one.
    fn seek(&mut self, block: &[u8], key: &[u8]) -> io::Result<()> {
        if !self.is_at_entry || self.key.as_slice() > key {
            *self = Self::default();
            self.advance(block)?;
        }
        while self.is_at_entry && self.key.as_slice() < key {
            self.advance(block)?;
        }
        Ok(())
    }
}

/// Goes through the entries of a tree from some key on, in order.
#[derive(Debug)]
pub(super) struct PackedCursor {
    tree: u8,
    /// Of the next block.
    number: usize,
    /// And the next entry in it.
    block: Option<(Block, Cursor)>,
}

impl PackedCursor {
    pub(super) fn at(packed: &Packed, tree: u8, from: &[u8]) -> io::Result<Self> {
        let number = packed.find(tree, from);
        let mut cursor = Self { tree, number, block: None };
        if packed.block_of(tree, number).is_some_and(|block| block.first.as_ref() < from) {
            let mut kept = packed.take_block(number)?;
            kept.cursor.seek(&kept.block, from)?;
            (cursor.number, cursor.block) = (number + 1, Some((Rc::clone(&kept.block), kept.cursor.clone())));
            Packed::keep(kept);
        }
        Ok(cursor)
    }

    fn is_between_blocks(&self) -> bool {
        self.block.as_ref().is_none_or(|(_, cursor)| !cursor.is_at_entry)
    }

    /// Takes the next entries as a block if they are a whole one, and if `other`, a key that they do not have, is behind them.
    pub(super) fn next_block_before(
        &mut self,
        packed: &Packed,
        other: Option<&[u8]>,
    ) -> io::Result<Option<WholeBlock>> {
        let next = packed.block_of(self.tree, self.number).filter(|_| self.is_between_blocks());
        let Some(BlockAt { first, .. }) = next else { return Ok(None) };
        let behind = packed.block_of(self.tree, self.number + 1).map(|block| block.first.as_ref());
        if other.is_some_and(|other| behind.is_none_or(|behind| other < behind)) {
            return Ok(None);
        }
        let framed = packed.read_framed(self.number)?;
        frame::check(&framed).map_err(|error| damaged(&format!("is damaged: {error}")))?;
        (self.number, self.block) = (self.number + 1, None);
        Ok(Some(WholeBlock { first: first.clone(), framed }))
    }

    /// Passes the next entry to `read`; `None` at the end.
    pub(super) fn next<T>(&mut self, packed: &Packed, read: impl FnOnce(&[u8], &[u8]) -> T) -> io::Result<Option<T>> {
        while self.is_between_blocks() {
            if packed.block_of(self.tree, self.number).is_none() {
                return Ok(None);
            }
            let (block, mut cursor) = (packed.take_block(self.number)?.block, Cursor::default());
            cursor.advance(&block)?;
            (self.number, self.block) = (self.number + 1, Some((block, cursor)));
        }
        let Some((block, cursor)) = &mut self.block else { return Ok(None) };
        let found = cursor.entry(block).map(|(key, value)| read(key, value));
        cursor.advance(block)?;
        Ok(found)
    }
}
