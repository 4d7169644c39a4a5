//! A list of signatures as an answer: it may come in parts, and has 10^5 records.

use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};
use xxhash_rust::xxh3::Xxh3;

use super::settlement::settled_as;
use super::{Outcome, Settlement, frame, key};
use crate::model::{OddRecord, Request, Signature, SignatureId};

/// A list of signatures while it is read. The digest is a sum over the signatures, so that it is the same whether the list
/// was fetched as a whole or by framework.
#[derive(Debug, Default)]
pub struct SignatureListing {
    /// As they came.
    signatures: Vec<SealedSignature>,
}

/// The record of a signature, without its keys: all of a list are in memory.
#[derive(Debug)]
struct SealedSignature {
    id: SignatureId,
    hash: u128,
    /// In frames.
    pieces: Box<[Box<[u8]>]>,
}

impl SealedSignature {
    fn of(signature: &Signature) -> Self {
        let raw = signature.raw.as_str().as_bytes();
        let mut hash = Xxh3::new();
        hash.update(&signature.id.0.to_be_bytes());
        hash.update(raw);
        let pieces = key::pieces(&[], raw).map(|(_, piece)| frame::seal(&piece).into_boxed_slice());
        Self { id: signature.id, hash: hash.digest128(), pieces: pieces.collect() }
    }
}

impl SignatureListing {
    /// Adds a part of the list. The records are compressed on all cores and then dropped: a list may have 10^5 signatures.
    pub fn add(&mut self, signatures: Vec<Signature>) {
        let sealed = signatures.into_par_iter().map(|signature| SealedSignature::of(&signature));
        self.signatures.extend(sealed.collect::<Vec<_>>());
    }

    /// True when no signature was listed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.signatures.is_empty()
    }

    /// Settles the list, which must be complete. `odd`: its records that were corrected or set aside. The last of several
    /// records of a signature counts.
    #[must_use]
    pub fn settle(mut self, request: Request, odd: Vec<OddRecord>) -> Settlement {
        self.signatures.reverse();
        self.signatures.sort_by_key(|signature| signature.id);
        self.signatures.dedup_by_key(|signature| signature.id);
        let mut settlement = Settlement::default();
        settlement.records.reserve_exact(self.signatures.iter().map(|signature| signature.pieces.len()).sum());
        let mut digest = 0_u128;
        for SealedSignature { id, hash, pieces } in self.signatures {
            digest = digest.wrapping_add(hash);
            let key = key::signature(id);
            let keyed = (0..).zip(pieces).map(|(number, piece)| (key::piece(&key, number), piece.into_vec()));
            settlement.records.extend(keyed);
            settlement.signature_ids.push(id);
        }
        settlement.odd = odd.into_iter().map(|odd| (request, odd)).collect();
        let ids: Vec<u64> = settlement.signature_ids.iter().map(|id| id.0).collect();
        settlement.put_ids(&request, &ids);
        let num = ids.len();
        let outcome = if num == 0 { Outcome::Empty } else { Outcome::Data };
        settlement.settled.push((request, settled_as(request, outcome, num, digest)));
        settlement
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::RawJson;

    #[test]
    fn a_list_is_settled_in_the_same_way_however_it_was_cut() {
        let signature = |id: u64| {
            let raw = RawJson::parse(&format!("{{\"id\":{id},\"framework_id\":1}}")).unwrap();
            Signature { id: SignatureId(id), raw }
        };
        let settled = |portions: &[&[u64]]| {
            let mut listing = SignatureListing::default();
            for portion in portions {
                listing.add(portion.iter().map(|&id| signature(id)).collect());
            }
            let settlement = listing.settle(Request::Signatures { framework: None }, Vec::new());
            (settlement.settled, settlement.records, settlement.signature_ids)
        };
        let whole = settled(&[&[1, 2, 3, 4, 5]]);
        assert_eq!(settled(&[&[5, 1], &[], &[4, 3], &[2]]), whole);
        assert_eq!(settled(&[&[5, 1, 5], &[], &[4, 3, 1], &[2]]), whole, "one record a signature");
        assert_eq!(
            (whole.0[0].1.outcome, whole.0[0].1.num_records, whole.1.len()),
            (Outcome::Data, 5, 6),
            "with the ids"
        );
        assert_ne!(settled(&[&[1, 2, 3, 4]]).0, whole.0);
        assert_eq!(settled(&[&[]]).0[0].1.outcome, Outcome::Empty);
    }
}
