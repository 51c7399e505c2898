//! Turns the objects of a kind into pages, the next one on its way while the last is read.

use kube::api::{ListParams, Request};
use kube::core::{ListMeta, Resource as _, TypeMeta};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::task::JoinHandle;

use crate::error::{Exit, Failure};
use crate::kinds::Kind;
use crate::lean::Lean;
use crate::object::Object;
use crate::session::{Scope, Session, types, within};

/// How many objects are asked for at a time.
const PAGE: u32 = 500;
/// How many are asked for at first where somebody waits for the first line: a screen or so, which
/// a server has at once.
const FIRST: u32 = 50;

/// A page as it comes: where the next begins is known before the objects are read.
#[derive(Deserialize)]
struct Raw {
    metadata: ListMeta,
    items: Vec<Box<RawValue>>,
}

/// One list of a kind, read page by page, ordered by namespace and name as the server has it.
pub struct Pages {
    session: Session,
    doing: String,
    path: String,
    types: TypeMeta,
    params: ListParams,
    /// Whether objects come without who owns which field.
    lean: bool,
    /// Whether there is a page after those that were given.
    more: bool,
    /// The next page, asked for already.
    ahead: Option<JoinHandle<Result<Raw, Failure>>>,
}

impl Pages {
    /// A list that is read from its begin. Nothing is asked for yet.
    #[must_use]
    pub fn new(session: &Session, kind: &Kind, scope: &Scope, selector: Option<&str>) -> Self {
        let namespace = match scope {
            Scope::Namespace(namespace) if kind.namespaced => Some(namespace.as_str()),
            _ => None,
        };
        let resource = kind.resource();
        let mut params = ListParams::default().limit(PAGE);
        params.label_selector = selector.map(str::to_owned);
        Self {
            session: session.clone(),
            doing: format!("list {}{}", kind.plural, within(namespace)),
            path: Object::url_path(&resource, namespace),
            types: types(&resource),
            params,
            lean: false,
            more: true,
            ahead: None,
        }
    }

    /// The same list with a small page at first, for who shows that one before the others are there.
    #[must_use]
    pub fn soon(mut self) -> Self {
        self.params.limit = Some(FIRST);
        self
    }

    /// The same list of objects without `metadata.managedFields`, for who shows them: that is
    /// read in half of the time.
    #[must_use]
    pub fn lean(mut self) -> Self {
        self.lean = true;
        self
    }

    /// All objects of what pages are left.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn all(mut self) -> Result<Vec<Object>, Failure> {
        let mut objects = Vec::new();
        while let Some(page) = self.next().await? {
            objects.extend(page);
        }
        Ok(objects)
    }

    /// The next page; none after the last.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn next(&mut self) -> Result<Option<Vec<Object>>, Failure> {
        if !self.more {
            return Ok(None);
        }
        let raw = match self.ahead.take() {
            Some(page) => page.await.map_err(|error| self.unreadable(&error))??,
            None => fetch(&self.session, &self.doing, &self.path, &self.params).await?,
        };
        let token = raw.metadata.continue_.filter(|token| !token.is_empty());
        self.more = token.is_some();
        if token.is_some() {
            self.params.continue_token = token;
            self.params.limit = Some(PAGE);
            let (session, doing) = (self.session.clone(), self.doing.clone());
            let (path, params) = (self.path.clone(), self.params.clone());
            self.ahead = Some(tokio::spawn(async move {
                fetch(&session, &doing, &path, &params).await
            }));
        }
        let (types, lean) = (self.types.clone(), self.lean);
        // On a thread of its own, so that the next page comes in meanwhile.
        let read = tokio::task::spawn_blocking(move || read(&raw.items, &types, lean)).await;
        let objects = read.map_err(|error| self.unreadable(&error))?;
        objects.map(Some).map_err(|error| self.unreadable(&error))
    }

    fn unreadable(&self, error: &dyn std::fmt::Display) -> Failure {
        let doing = &self.doing;
        Failure::new(
            Exit::Failure,
            format!("cannot {doing}: the answer cannot be read: {error}"),
        )
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        if let Some(ahead) = &self.ahead {
            ahead.abort();
        }
    }
}

async fn fetch(
    session: &Session,
    doing: &str,
    path: &str,
    params: &ListParams,
) -> Result<Raw, Failure> {
    let client = session.client();
    let answer = async {
        let request = Request::new(path)
            .list(params)
            .map_err(kube::Error::BuildRequest)?;
        client.request::<Raw>(request).await
    };
    session.ask(doing, answer).await
}

fn read(items: &[Box<RawValue>], types: &TypeMeta, lean: bool) -> serde_json::Result<Vec<Object>> {
    let objects = items.iter().map(|item| {
        let mut object: Object = match lean {
            true => serde_json::from_str::<Lean>(item.get())?.0,
            false => serde_json::from_str(item.get())?,
        };
        // Lists of other kinds than custom resources leave these out.
        object.types.get_or_insert_with(|| types.clone());
        Ok(object)
    });
    objects.collect()
}
