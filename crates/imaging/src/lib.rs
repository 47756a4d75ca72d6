//! microdiff-imaging
