//! Small pictures, drawn as lines in the colour of the text around them.

use yew::prelude::*;

/// Which picture. A state has one of its own, so that colour never carries meaning alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Icon {
    /// A broken circle.
    Created,
    /// A clock.
    Queued,
    /// An arrow on its way.
    Dispatched,
    /// Three bars, two of them done.
    Preparing,
    /// A triangle: it plays.
    Running,
    /// A square in a broken circle.
    Aborting,
    /// A tick.
    Succeeded,
    /// A cross.
    Failed,
    /// A square.
    Aborted,
    /// A question mark.
    Lost,
    /// A lens.
    Search,
    /// A warning triangle.
    Warning,
    /// An arrow down to a line.
    Download,
    /// Corners that part.
    Widen,
    /// Corners that meet.
    Narrow,
    /// A page of text.
    File,
}

impl Icon {
    /// Paths in a square of 16.
    fn path(self) -> &'static str {
        match self {
            Self::Created => {
                "M8 1.8a6.2 6.2 0 0 1 4 1.400M14.100 7a6.200 6.200 0 0 1-1.300 5M10.200 13.800a6.200 6.200 0 0 1-5 -.300M2.600 11.100a6.200 6.200 0 0 1-.300-5M4.300 3a6.200 6.200 0 0 1 .400-.300"
            }
            Self::Queued => {
                "M8 1.800a6.200 6.200 0 1 1 0 12.400a6.200 6.200 0 0 1 0-12.400M8 4.600V8l2.400 1.600"
            }
            Self::Dispatched => "M1.800 8h10.400M8.600 4.200 12.400 8l-3.800 3.800",
            Self::Preparing => "M2.500 4h11M2.500 8h11M2.500 12h5",
            Self::Running => "M4.500 2.800v10.400L13 8z",
            Self::Aborting => {
                "M8 1.800a6.200 6.200 0 0 1 6.200 6.200M8 14.200a6.200 6.200 0 0 1-6.200-6.200M5.800 5.800h4.400v4.400H5.800z"
            }
            Self::Succeeded => "M2.500 8.600 6.200 12.200 13.500 4.200",
            Self::Failed => "M3.500 3.500l9 9M12.500 3.500l-9 9",
            Self::Aborted => "M3.500 3.500h9v9h-9z",
            Self::Lost => {
                "M5.300 5.600a2.700 2.700 0 1 1 4.200 2.200c-.900.600-1.500 1.100-1.500 2.100M8 12.900v.300"
            }
            Self::Search => "M7 2.500a4.500 4.500 0 1 1 0 9a4.500 4.500 0 0 1 0-9M10.300 10.300 14 14",
            Self::Warning => "M8 2.200 14.500 13.500h-13zM8 6.500v3.200M8 11.600v.300",
            Self::Download => "M8 2v8.500M4.500 7.200 8 10.700l3.500-3.500M2.500 13.700h11",
            Self::Widen => "M9.500 2.500h4v4M13.500 2.500 9.500 6.500M6.500 13.500h-4v-4M2.500 13.500l4-4",
            Self::Narrow => "M13.500 6.500h-4v-4M9.500 6.500l4-4M2.500 9.500h4v4M6.500 9.500l-4 4",
            Self::File => "M4 1.800h5.500l3 3v9.400H4zM9.300 2v3h3M6.200 8h4M6.200 10.700h4",
        }
    }
}

/// Which picture.
#[derive(Properties, PartialEq)]
pub struct Props {
    /// Which.
    pub icon: Icon,
}

/// Draws a picture; the text beside it says the same.
#[component]
pub fn Picture(props: &Props) -> Html {
    let filled = matches!(props.icon, Icon::Running | Icon::Aborted);
    html! {
        <svg class={classes!("icon", filled.then_some("icon-filled"))} viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">
            <path d={props.icon.path()} />
        </svg>
    }
}
