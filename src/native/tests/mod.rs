//! The native formats held to their fixtures, to hostile texts and to any bytes. Must not know: HTTP.
