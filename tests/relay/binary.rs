//! The binary before an emulator. Must not know: the crate's inside.
