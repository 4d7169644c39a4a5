//! A list of signatures as an answer: it may come in parts, and has 10^5 records.

use xxhash_rust::xxh3::Xxh3;

use super::listed_part::ListedPart;
use super::settlement::settled_as;
use super::{Outcome, Settlement};
use crate::model::{OddRecord, Request, Signature, SignatureId};

/// A list of signatures while it is read. The digest is a sum over the signatures, so that it is the same whether the list
/// was fetched as a whole or by framework.
#[derive(Debug, Default)]
pub struct SignatureListing {
    parts: Vec<ListedPart>,
    /// Ids and hashes, as they came.
    signatures: Vec<(SignatureId, [u8; 16])>,
}

fn hash_of(signature: &Signature) -> u128 {
    let mut hash = Xxh3::new();
    hash.update(&signature.id.0.to_be_bytes());
    hash.update(signature.raw.as_str().as_bytes());
    hash.digest128()
}

impl SignatureListing {
    /// Adds a part of the list, some thousand signatures.
    pub fn add(&mut self, signatures: &[Signature]) {
        if !signatures.is_empty() {
            self.parts.push(ListedPart::of(self.signatures.len(), signatures));
            let hashed = signatures.iter().map(|signature| (signature.id, hash_of(signature).to_le_bytes()));
            self.signatures.extend(hashed);
        }
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
        let mut settlement = Settlement::default();
        let mut by_id: Vec<_> = (0..).zip(&self.signatures).map(|(number, (id, _))| (*id, number)).collect();
        by_id.sort_unstable();
        let mut digest = 0_u128;
        for records in by_id.chunk_by(|(one, _), (other, _)| one == other) {
            let Some(((id, last), replaced)) = records.split_last() else { continue };
            digest = digest.wrapping_add(u128::from_le_bytes(self.signatures[*last].1));
            settlement.signature_ids.push(*id);
            for (_, number) in replaced {
                let behind = self.parts.partition_point(|part| part.first() <= *number);
                self.parts[behind - 1].leave_out(*number);
            }
        }
        settlement.listed = self.parts;
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
                listing.add(&portion.iter().map(|&id| signature(id)).collect::<Vec<_>>());
            }
            let settlement = listing.settle(Request::Signatures { framework: None }, Vec::new());
            let mut records: Vec<_> = settlement.listed.iter().flat_map(|part| part.records().unwrap()).collect();
            records.extend(settlement.records);
            records.sort();
            (settlement.settled, records, settlement.signature_ids)
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
