//! The library's front: a client for programs that want an answer now, inside the same budget as
//! the workers of the same store.
//! Must not know: command lines, how a call is made, claimed or checked.
