use microdiff_domain::DomainError;
use thiserror::Error;

/// Who has to act on an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request is incomplete or wrong; the scan may be fine.
    Usage,
    /// The scan cannot be used.
    Data,
}

/// What makes a scan unusable. Texts are one line and meant for the person who gave the scan.
#[derive(Debug, Error)]
pub enum ImagingError {
    /// The file system refused.
    #[error("cannot read {path}: {source}")]
    Read {
        /// File or folder, made safe to print.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The file system refused to take an output.
    #[error("cannot write {path}: {reason}")]
    Write {
        /// File, made safe to print.
        path: String,
        /// Why.
        reason: String,
    },
    /// A file without content.
    #[error("{path} is empty")]
    Empty {
        /// File.
        path: String,
    },
    /// Not a TIFF file at all.
    #[error("{path} is not a TIFF file")]
    NotTiff {
        /// File.
        path: String,
    },
    /// A TIFF file that ends early, loops or contradicts itself.
    #[error("{path} is damaged or truncated: {reason}")]
    Damaged {
        /// File.
        path: String,
        /// What was found.
        reason: String,
    },
    /// A TIFF file of a kind that is not a grey volume.
    #[error("{path} is not a grey scan: {reason}")]
    Unsupported {
        /// File.
        path: String,
        /// What was found and what is needed.
        reason: String,
    },
    /// Pages or slices that do not belong together.
    #[error("{path}: {reason}")]
    Mixed {
        /// File or folder.
        path: String,
        /// Which page or slice differs, and how.
        reason: String,
    },
    /// A folder whose slices cannot be put in order.
    #[error("{path} is not a usable folder of slices: {reason}")]
    Slices {
        /// Folder.
        path: String,
        /// Why.
        reason: String,
    },
    /// More than the budget allows.
    #[error("{path} is too large: {reason}")]
    TooLarge {
        /// File or folder.
        path: String,
        /// Which limit, and by how much it is exceeded.
        reason: String,
    },
    /// Voxels that are not numbers.
    #[error("{path} has {count} voxels that are NaN or infinite, the first on page {page}")]
    NotFinite {
        /// File.
        path: String,
        /// How many.
        count: u64,
        /// Page of the first, counted from 1.
        page: usize,
    },
    /// Every voxel has the same value.
    #[error("the scan is constant: every voxel is {value}")]
    Constant {
        /// The value.
        value: f64,
    },
    /// Too few voxels along an axis.
    #[error("the scan has {shape} voxels (z x y x x); each axis needs at least {least}")]
    TooSmall {
        /// Shape as text.
        shape: String,
        /// Smallest accepted axis.
        least: usize,
    },
    /// Nothing says how large a voxel is.
    #[error(
        "unknown voxel size: {looked}; give it with --voxel-size UM (form field voxel_size_um)"
    )]
    UnknownVoxelSize {
        /// Where it was looked for and what was there.
        looked: String,
    },
    /// Slices further apart than the pixels of a slice, or nearer.
    #[error(
        "voxels are not cubes: {z_um} um along z, {xy_um} um across; resample the scan, or give \
         the edge to assume with --voxel-size UM (form field voxel_size_um)"
    )]
    NotCubic {
        /// Spacing of slices.
        z_um: f64,
        /// Spacing of pixels.
        xy_um: f64,
    },
    /// What fills most of the scan is not the part.
    #[error(
        "{bright_percent:.0} % of the scan is much brighter than what fills most of it: the part \
         seems to lie in air; crop the scan to the part"
    )]
    MostlyAir {
        /// Share of the bright voxels, percent.
        bright_percent: f64,
    },
    /// More runs of dark voxels than can be numbered.
    #[error("the pore phase is too fragmented to label: more than 4 billion runs")]
    TooFragmented,
    /// A value refused by the domain.
    #[error(transparent)]
    Domain(#[from] DomainError),
}

impl ImagingError {
    /// Whether the request or the scan is at fault.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::UnknownVoxelSize { .. } => ErrorKind::Usage,
            _ => ErrorKind::Data,
        }
    }
}

/// Writes the codes once, as the match and as the list of what it can give.
macro_rules! codes {
    ($($error:pat => $code:literal,)+) => {
        impl ImagingError {
            /// Every code there is, in the order of the declaration.
            pub const CODES: &'static [&'static str] = &[$($code),+];

            /// Stable word for logs, metrics and problem documents.
            pub fn code(&self) -> &'static str {
                match self {
                    $($error => $code,)+
                }
            }
        }
    };
}

codes! {
    ImagingError::Read { .. } => "scan_unreadable",
    ImagingError::Write { .. } => "output_unwritable",
    ImagingError::Empty { .. } => "scan_empty",
    ImagingError::NotTiff { .. } => "scan_not_tiff",
    ImagingError::Damaged { .. } => "scan_damaged",
    ImagingError::Unsupported { .. } => "scan_unsupported",
    ImagingError::Mixed { .. } => "scan_mixed_pages",
    ImagingError::Slices { .. } => "scan_slices_unusable",
    ImagingError::TooLarge { .. } => "scan_too_large",
    ImagingError::NotFinite { .. } => "scan_not_finite",
    ImagingError::Constant { .. } => "scan_constant",
    ImagingError::TooSmall { .. } => "scan_too_small",
    ImagingError::UnknownVoxelSize { .. } => "voxel_size_unknown",
    ImagingError::NotCubic { .. } => "voxels_not_cubic",
    ImagingError::MostlyAir { .. } => "scan_mostly_air",
    ImagingError::TooFragmented => "pores_too_fragmented",
    ImagingError::Domain(_) => "value_refused",
}
