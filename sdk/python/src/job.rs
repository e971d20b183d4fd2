//! The process's job as Python holds it: what is known of it, and the way of every change to it.
//!
//! How the process came to its job is in `membership.rs`. Nothing here asks the network.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use neptune_client::folder::JobFile;
use neptune_client::writer::Writer;
use neptune_wire::chart::Series;
use neptune_wire::job::{Direction, PatchJob};
use neptune_wire::name::{ChartName, NAME_BYTES};
use neptune_wire::{ChannelName, CreateChart, Line, Number, ParamValue, Tag};
use pyo3::IntoPyObjectExt as _;
use pyo3::prelude::*;

use crate::error::InvalidValueError;
use crate::membership::{Membership, Offline, OfflineStart};
use crate::offline_log::OfflineLog;

/// Longest text of a property that a server takes, in bytes.
const PROPERTY_BYTES: usize = 16 * 1024;

/// The job this process belongs to.
#[pyclass(frozen, module = "deepsense.neptune._native")]
pub(crate) struct JobInternal {
    pub(crate) writer: Writer,
    pub(crate) log: Option<Arc<OfflineLog>>,
    id: Option<String>,
    offline: Option<Offline>,
    /// The job as it was when the process joined it.
    file: Option<JobFile>,
}

#[pymethods]
impl JobInternal {
    /// Joins the job that the environment names, or begins one that works offline and says so.
    ///
    /// `describe` answers the program's name, command line and surroundings, for the latter; it is not called otherwise.
    #[new]
    fn new(describe: &Bound<'_, PyAny>) -> PyResult<Self> {
        let start = || {
            let (name, command, environment) = describe.call0()?.extract()?;
            Ok(OfflineStart { name, command, environment })
        };
        let Membership { writer, id, file, offline, log } = Membership::find(start)?;
        Ok(Self { writer, id, file, offline, log: log.map(Arc::new) })
    }

    /// `TRIG-12`; `None` offline and before the job is registered.
    #[getter]
    fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Whether no runner started the program.
    #[getter]
    fn is_offline(&self) -> bool {
        self.offline.is_some()
    }

    /// The folder of a job that works offline, in the process that began it.
    #[getter]
    fn offline_folder(&self) -> Option<OsString> {
        Some(self.offline.as_ref()?.folder()?.into())
    }

    /// Names and values of the params.
    #[getter]
    fn params<'py>(&self, py: Python<'py>) -> PyResult<Vec<(&str, Bound<'py, PyAny>)>> {
        let params = self.file.iter().flat_map(|file| &file.create.params);
        params.map(|param| Ok((param.name.as_str(), object_from_param(py, &param.value)?))).collect()
    }

    /// The tags it was created with.
    #[getter]
    fn tags(&self) -> Vec<&str> {
        self.file.iter().flat_map(|file| &file.create.tags).map(Tag::as_str).collect()
    }

    /// The properties it was created with.
    #[getter]
    fn properties(&self) -> BTreeMap<&str, &str> {
        let properties = self.file.iter().flat_map(|file| &file.create.properties);
        properties.map(|(key, value)| (key.as_str(), value.as_str())).collect()
    }

    /// The channel that judges it and `minimize` or `maximize`.
    #[getter]
    fn metric(&self) -> Option<(&str, &'static str)> {
        let metric = self.file.as_ref()?.create.metric.as_ref()?;
        let direction = match metric.direction {
            Direction::Minimize => "minimize",
            Direction::Maximize => "maximize",
        };
        Some((metric.channel.as_str(), direction))
    }

    /// Remembers params that a program gives itself offline, in addition to those it gave before.
    fn add_offline_params(&self, params: Vec<(String, Bound<'_, PyAny>)>) {
        if let Some(offline) = &self.offline {
            offline.add_params(&params);
        }
    }

    /// Creates a chart of series, each its legend and a channel's name.
    fn create_chart(&self, name: &str, series: Vec<(String, String)>) -> PyResult<()> {
        let name = ChartName::new(name).map_err(invalid)?;
        let series = series.into_iter().map(|(name, channel)| {
            let channel = ChannelName::new(&channel).map_err(invalid)?;
            Ok(Series { name, channel, line: Line::default() })
        });
        self.writer.create_chart(CreateChart { name, series: series.collect::<PyResult<_>>()? });
        Ok(())
    }

    /// Adds a tag.
    fn add_tag(&self, tag: &str) -> PyResult<()> {
        self.writer.patch_job(PatchJob { add_tags: vec![tag_from_text(tag)?], ..PatchJob::default() });
        Ok(())
    }

    /// Removes a tag; one that cannot exist is not there.
    fn remove_tag(&self, tag: &str) {
        if let Ok(tag) = Tag::new(tag) {
            self.writer.patch_job(PatchJob { remove_tags: vec![tag], ..PatchJob::default() });
        }
    }

    /// Replaces all tags.
    fn set_tags(&self, tags: Vec<String>) -> PyResult<()> {
        let tags = tags.iter().map(|tag| tag_from_text(tag)).collect::<PyResult<_>>()?;
        self.writer.patch_job(PatchJob { tags: Some(tags), ..PatchJob::default() });
        Ok(())
    }

    /// Sets a property, or removes it with `None`.
    #[pyo3(signature = (key, value))]
    fn set_property(&self, key: String, value: Option<String>) -> PyResult<()> {
        if key.is_empty() || key.len() > NAME_BYTES {
            return Err(invalid(format_args!("property: the key must be 1 to {NAME_BYTES} bytes long")));
        }
        if value.as_ref().is_some_and(|text| text.len() > PROPERTY_BYTES) {
            return Err(invalid(format_args!("property: the value is over {PROPERTY_BYTES} bytes long")));
        }
        self.writer.patch_job(PatchJob { properties: [(key, value)].into(), ..PatchJob::default() });
        Ok(())
    }

    /// Waits until the server has everything sent so far, but at most so long; answers whether it has.
    fn flush(&self, py: Python<'_>, seconds: f64) -> bool {
        let within = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        py.detach(|| {
            self.log.iter().for_each(|log| log.flush());
            self.writer.flush(within).all_acked
        })
    }

    /// In a forked child: leaves to the parent what two processes cannot do at once.
    fn note_fork(&self) {
        self.log.iter().for_each(|log| log.silence());
    }

    /// The end of the process: as `flush`, then nothing more is taken. `interrupted`: a person pressed Ctrl-C.
    fn finish(&self, py: Python<'_>, seconds: f64, interrupted: bool) {
        let within = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        py.detach(|| {
            self.log.iter().for_each(|log| log.flush());
            self.writer.close(within);
            if interrupted && let Some(offline) = &self.offline {
                offline.end_interrupted();
            }
        });
    }
}

/// Checks a tag; answers it.
#[pyfunction]
pub(crate) fn checked_tag(tag: &str) -> PyResult<&str> {
    tag_from_text(tag).map(|_| tag)
}

fn tag_from_text(text: &str) -> PyResult<Tag> {
    Tag::new(text).map_err(invalid)
}

fn invalid(why: impl Display) -> PyErr {
    InvalidValueError::new_err(why.to_string())
}

fn object_from_param<'py>(py: Python<'py>, value: &ParamValue) -> PyResult<Bound<'py, PyAny>> {
    match value {
        ParamValue::Boolean(value) => value.into_bound_py_any(py),
        ParamValue::Integer(value) => value.into_bound_py_any(py),
        ParamValue::Double(Number(value)) => value.into_bound_py_any(py),
        ParamValue::String(value) => value.into_bound_py_any(py),
    }
}
