//! microdiff-diffusion
