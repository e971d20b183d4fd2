//! The page's addresses. Everything one can look at has one; filters are in its query.

use std::fmt;
use std::rc::Rc;

use yew::prelude::*;
use yew_router::prelude::*;
use yew_router::query::Raw;

use crate::state::address::Query;

/// Where one can be.
#[derive(Debug, Clone, PartialEq, Eq, Routable)]
pub enum Route {
    /// The jobs list.
    #[at("/")]
    Jobs,
    /// A job's charts.
    #[at("/jobs/:id")]
    Job {
        /// Its id or uid.
        id: String,
    },
    /// Another part of a job's page.
    #[at("/jobs/:id/:tab")]
    JobTab {
        /// Its id or uid.
        id: String,
        /// Which part.
        tab: Tab,
    },
    /// Anything else.
    #[not_found]
    #[at("/404")]
    NotFound,
}

/// The parts of a job's page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tab {
    /// Charts of its numeric channels.
    #[default]
    Charts,
    /// Its text channels.
    Logs,
    /// Its image channels.
    Images,
    /// Parameters and metadata.
    Details,
}

impl Tab {
    /// All, in the order of the page.
    pub const ALL: [Self; 4] = [Self::Charts, Self::Logs, Self::Images, Self::Details];

    /// For people.
    pub fn title(self) -> &'static str {
        match self {
            Self::Charts => "Charts",
            Self::Logs => "Logs",
            Self::Images => "Images",
            Self::Details => "Details",
        }
    }

    /// The address of this part of a job's page.
    pub fn of(self, id: &str) -> Route {
        match self {
            Self::Charts => Route::Job { id: id.into() },
            tab => Route::JobTab { id: id.into(), tab },
        }
    }
}

impl fmt::Display for Tab {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.title().to_lowercase())
    }
}

impl std::str::FromStr for Tab {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|tab| tab.to_string() == text).ok_or(())
    }
}

/// Where the page is, and the way to elsewhere.
#[derive(Clone, PartialEq)]
pub struct Place {
    navigator: Navigator,
    /// The route; [`Route::NotFound`] for what is none.
    pub route: Route,
    /// What follows the `?`.
    pub query: Rc<Query>,
}

impl Place {
    /// Goes somewhere, with a step back in the browser's history.
    pub fn go(&self, route: &Route, query: &Query) {
        let Ok(()) = self.navigator.push_with_query(route, Raw(query.to_string()));
    }

    /// Changes the query of where the page is, without a step in the history.
    pub fn rewrite(&self, query: &Query) {
        if *query != *self.query {
            let Ok(()) = self.navigator.replace_with_query(&self.route, Raw(query.to_string()));
        }
    }
}

/// Where the page is.
#[hook]
pub fn use_place() -> Place {
    let navigator = use_navigator().expect("the router is the root of the page");
    let route = use_route::<Route>().unwrap_or(Route::NotFound);
    let query = use_location().map(|location| Query::parse(location.query_str())).unwrap_or_default();
    Place { navigator, route, query: Rc::new(query) }
}
