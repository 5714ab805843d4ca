//! For stores of tests that stand around another one, and do little otherwise than it.

/// Methods of a `Store` that ask the one in a field and do nothing else: `forward!([FIELD]: get, scan, last, commit);`
/// for all that have no default.
macro_rules! forward {
    ($field:tt: $($method:ident),+) => {
        $($crate::vault::forwarding::forward!($method $field);)+
    };
    (get [$($field:tt)+]) => {
        fn get(&self, space: $crate::vault::Space, key: &[u8]) -> Result<Option<Vec<u8>>, $crate::vault::StoreError> {
            self.$($field)+.get(space, key)
        }
    };
    (scan [$($field:tt)+]) => {
        fn scan(
            &self,
            space: $crate::vault::Space,
            prefix: &[u8],
            after: Option<&[u8]>,
            limit: usize,
        ) -> Result<Vec<$crate::vault::Pair>, $crate::vault::StoreError> {
            self.$($field)+.scan(space, prefix, after, limit)
        }
    };
    (last [$($field:tt)+]) => {
        fn last(&self, space: $crate::vault::Space) -> Result<Option<$crate::vault::Pair>, $crate::vault::StoreError> {
            self.$($field)+.last(space)
        }
    };
    (commit [$($field:tt)+]) => {
        fn commit(
            &self,
            batch: $crate::vault::Batch,
            durability: $crate::vault::Durability,
        ) -> futures::future::BoxFuture<'static, Result<(), $crate::vault::StoreError>> {
            self.$($field)+.commit(batch, durability)
        }
    };
}

pub(crate) use forward;
