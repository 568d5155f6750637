//! A server that plays STS, Service Quotas and Bedrock as badly as a test wants it to.
//! Must not know: what is made of its answers.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// What it answers.
#[derive(Clone, Default)]
pub(crate) struct Answers {
    /// STS's refusal (status, code); none names the caller.
    pub(crate) sts: Option<(u16, &'static str)>,
    /// Pages of quotas: name, code, value.
    pub(crate) quotas: Vec<Vec<(&'static str, &'static str, f64)>>,
    /// Service Quotas' refusal.
    pub(crate) quotas_refused: Option<&'static str>,
    /// Bedrock's `Date`; none leaves the machine's own.
    pub(crate) date: Option<String>,
    /// Bedrock's refusal; none says that the key is not known.
    pub(crate) bedrock: Option<&'static str>,
    /// It says that it is a simulator.
    pub(crate) is_simulator: bool,
    /// Nothing is ever answered.
    pub(crate) is_silent: bool,
}

/// Where it listens, and what it was asked.
pub(crate) struct Server {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<String>>>,
    signed: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub(crate) async fn start(answers: Answers) -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let signed = Arc::new(Mutex::new(Vec::new()));
        let (seen, signatures) = (Arc::clone(&asked), Arc::clone(&signed));
        let router = Router::new().fallback(move |headers: HeaderMap, body: Bytes| {
            let (answers, seen) = (answers.clone(), Arc::clone(&seen));
            let signature = headers.get(header::AUTHORIZATION).map(|it| format!("{it:?}"));
            signatures.lock().unwrap().extend(signature);
            async move { answers.answer(&headers, &body, &seen).await }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, asked, signed }
    }

    /// The authorizations of all that it was asked.
    pub(crate) fn signed(&self) -> String {
        self.signed.lock().unwrap().join("\n")
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Answers {
    async fn answer(
        &self,
        headers: &HeaderMap,
        body: &Bytes,
        seen: &Mutex<Vec<String>>,
    ) -> Response {
        let target = headers.get("x-amz-target").and_then(|value| value.to_str().ok());
        let text = String::from_utf8_lossy(body);
        let who = match target {
            Some(target) => target.to_owned(),
            None if text.contains("Action=GetCallerIdentity") => "sts".to_owned(),
            None => "bedrock".to_owned(),
        };
        seen.lock().unwrap().push(who.clone());
        if self.is_silent {
            std::future::pending::<()>().await;
        }
        match who.as_str() {
            "sts" => self.caller(),
            "bedrock" => {
                let mut answer = reply(403, "application/json", r#"{"message":"no"}"#.to_owned());
                let headers = answer.headers_mut();
                let code = self.bedrock.unwrap_or("UnrecognizedClientException");
                headers.insert("x-amzn-errortype", code.parse().unwrap());
                if self.is_simulator {
                    headers.insert("x-quarrier-simulated", "true".parse().unwrap());
                }
                if let Some(date) = &self.date {
                    headers.insert(header::DATE, date.parse().unwrap());
                }
                answer
            }
            _ => self.page(&serde_json::from_str(&text).unwrap_or_default()),
        }
    }

    fn caller(&self) -> Response {
        let namespace = "https://sts.amazonaws.com/doc/2011-06-15/";
        let xml = match self.sts {
            None => format!(
                "<GetCallerIdentityResponse xmlns=\"{namespace}\"><GetCallerIdentityResult>\
                 <Arn>arn:aws:iam::111122223333:user/batch</Arn><UserId>AIDAEXAMPLE</UserId>\
                 <Account>111122223333</Account></GetCallerIdentityResult></GetCallerIdentityResponse>"
            ),
            Some((_, code)) => format!(
                "<ErrorResponse xmlns=\"{namespace}\"><Error><Type>Sender</Type><Code>{code}</Code>\
                 <Message>because</Message></Error><RequestId>r</RequestId></ErrorResponse>"
            ),
        };
        reply(self.sts.map_or(200, |(status, _)| status), "text/xml", xml)
    }

    fn page(&self, asked: &Value) -> Response {
        let kind = "application/x-amz-json-1.1";
        if let Some(code) = self.quotas_refused {
            let body = json!({ "__type": code, "Message": "you may not" });
            return reply(400, kind, body.to_string());
        }
        let number: usize = asked["NextToken"].as_str().map_or(0, |token| token.parse().unwrap());
        let page = self.quotas.get(number).cloned().unwrap_or_default();
        let quotas: Vec<Value> = page
            .iter()
            .map(|(name, code, value)| {
                json!({ "ServiceCode": "bedrock", "QuotaName": name, "QuotaCode": code, "Value": value })
            })
            .collect();
        let mut body = json!({ "Quotas": quotas });
        if number + 1 < self.quotas.len() {
            body["NextToken"] = json!((number + 1).to_string());
        }
        reply(200, kind, body.to_string())
    }
}

fn reply(status: u16, kind: &str, body: String) -> Response {
    let mut answer = Response::new(Body::from(body));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap();
    answer.headers_mut().insert(header::CONTENT_TYPE, kind.parse().unwrap());
    answer
}
