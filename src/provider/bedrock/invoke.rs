//! One call through InvokeModel or `InvokeModelWithResponseStream`: how its native body is sent,
//! and its answer as it arrives.
//! Must not know: clocks, credentials, regions, retries, what stands in a body.

use std::sync::{Arc, OnceLock};

use aws_sdk_bedrockruntime::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_bedrockruntime::operation::RequestId as _;
use aws_sdk_bedrockruntime::operation::invoke_model_with_response_stream::InvokeModelWithResponseStreamOutput;
use aws_sdk_bedrockruntime::primitives::Blob;
use aws_sdk_bedrockruntime::types::ResponseStream;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::BeforeDeserializationInterceptorContextRef;
use aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint;

use super::call::{Arriving, Begun, too_large};
use super::line::Line;
use super::{fault, refused, wire};
use crate::error::ErrorKind;
use crate::native::{self, Counted, Gather, Unreadable};
use crate::provider::{CallError, FailedCharge, GenerateRequest};

const JSON: &str = "application/json";

/// An answer of InvokeModel.
pub(super) struct Answer {
    source: Source,
    gather: Gather,
    counted: Counted,
    bytes_max: usize,
    /// A body that is not of its format.
    unread: Option<String>,
}

/// What is still to come.
enum Source {
    Stream(Box<InvokeModelWithResponseStreamOutput>),
    Whole(Option<Blob>),
}

/// Sends the call and waits until its answer begins.
pub(super) async fn begin(
    line: &Line,
    request: &GenerateRequest,
    streamed: bool,
) -> Result<Begun<Answer>, CallError> {
    let invalid = |message: String| refused(ErrorKind::InvalidRequest, &message);
    let (format, body) = wire::native(request).map_err(|error| invalid(error.to_string()))?;
    let body = Blob::new(serde_json::to_vec(&body).map_err(|error| invalid(error.to_string()))?);
    let bytes_max = request.answer_bytes_max;
    let gather = Gather::new(format, bytes_max);
    let (source, counted, request_id) = if streamed {
        stream(line, request, body).await?
    } else {
        whole(line, request, body).await?
    };
    Ok(Begun { answer: Answer { source, gather, counted, bytes_max, unread: None }, request_id })
}

type Opened = (Source, Counted, Option<String>);

async fn stream(line: &Line, request: &GenerateRequest, body: Blob) -> Result<Opened, CallError> {
    let answer = line
        .client
        .invoke_model_with_response_stream()
        .model_id(&request.model_id)
        .content_type(JSON)
        .accept(JSON)
        .body(body)
        .set_request_metadata(wire::metadata_header(request))
        .send()
        .await
        .map_err(|error| fault::before_answer(&error, line.address()))?;
    let request_id = answer.request_id().map(str::to_owned);
    // A stream's counts come in its last chunk.
    Ok((Source::Stream(Box::new(answer)), Counted::default(), request_id))
}

async fn whole(line: &Line, request: &GenerateRequest, body: Blob) -> Result<Opened, CallError> {
    let counts = CountHeaders::default();
    let answer = line
        .client
        .invoke_model()
        .model_id(&request.model_id)
        .content_type(JSON)
        .accept(JSON)
        .body(body)
        .set_request_metadata(wire::metadata_header(request))
        .customize()
        .interceptor(counts.clone())
        .send()
        .await
        .map_err(|error| fault::before_answer(&error, line.address()))?;
    let request_id = answer.request_id().map(str::to_owned);
    let counted = counts.0.get().copied().unwrap_or_default();
    Ok((Source::Whole(Some(answer.body)), counted, request_id))
}

impl Arriving for Answer {
    async fn next(&mut self, began: bool) -> Result<Option<&str>, CallError> {
        let bytes_max = self.bytes_max;
        match &mut self.source {
            Source::Stream(answer) => match answer.body.recv().await {
                Err(error) => Err(fault::in_stream(&error, began)),
                Ok(None) => Ok(None),
                Ok(Some(ResponseStream::Chunk(part))) => {
                    let bytes = part.bytes.map(Blob::into_inner).unwrap_or_default();
                    match self.gather.chunk(&bytes) {
                        Ok(added) => Ok(Some(added)),
                        Err(error) => Err(unreadable(&error, bytes_max)),
                    }
                }
                // An event newer than this program.
                Ok(Some(_)) => Ok(Some("")),
            },
            Source::Whole(body) => match body.take() {
                None => Ok(None),
                Some(body) => match self.gather.whole(body.as_ref()) {
                    Ok(()) => Ok(Some("")),
                    Err(error) => {
                        self.unread = Some(fault::evidence(body.as_ref()));
                        Err(unreadable(&error, bytes_max))
                    }
                },
            },
        }
    }

    fn is_complete(&self) -> bool {
        self.gather.is_complete()
    }

    async fn rest(&mut self) {
        if let Source::Stream(answer) = &mut self.source {
            while let Ok(Some(_)) = answer.body.recv().await {}
        }
    }

    fn partial(self) -> Option<String> {
        self.gather.partial().or(self.unread).filter(|text| !text.is_empty())
    }

    fn finish(self) -> Result<native::Answer, Option<String>> {
        self.gather.finish(self.counted)
    }
}

/// An answer that its format does not explain has arrived all the same, and is paid for.
fn unreadable(error: &Unreadable, answer_bytes_max: usize) -> CallError {
    match error {
        Unreadable::TooLarge => too_large(answer_bytes_max),
        Unreadable::Form(_) => {
            fault::failed(ErrorKind::Internal, &error.to_string(), FailedCharge::Unknown)
        }
    }
}

/// Reads the token counts of a whole answer, which stand in headers that the SDK does not model.
#[derive(Debug, Clone, Default)]
struct CountHeaders(Arc<OnceLock<Counted>>);

#[dyn_dispatch_hint]
impl Intercept for CountHeaders {
    fn name(&self) -> &'static str {
        "CountHeaders"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let headers = context.response().headers();
        let count = |name: &str| headers.get(name)?.trim().parse().ok();
        self.0.get_or_init(|| Counted {
            input: count("x-amzn-bedrock-input-token-count"),
            output: count("x-amzn-bedrock-output-token-count"),
        });
        Ok(())
    }
}
