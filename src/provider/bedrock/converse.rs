//! One call through Converse or ConverseStream: how it is sent, and its answer as it arrives.
//! Must not know: clocks, credentials, regions, retries.

use aws_sdk_bedrockruntime::operation::RequestId as _;
use aws_sdk_bedrockruntime::operation::converse::ConverseOutput;
use aws_sdk_bedrockruntime::operation::converse_stream::ConverseStreamOutput;

use super::answer::Gather;
use super::call::{Arriving, Begun, too_large};
use super::line::Line;
use super::{fault, refused, wire};
use crate::error::ErrorKind;
use crate::native;
use crate::provider::{CallError, GenerateRequest};

/// An answer of Converse.
pub(super) struct Answer {
    source: Source,
    gather: Gather,
    bytes_max: usize,
}

/// What is still to come.
enum Source {
    Stream(Box<ConverseStreamOutput>),
    Whole(Option<Box<ConverseOutput>>),
}

/// Sends the call and waits until its answer begins.
pub(super) async fn begin(
    line: &Line,
    request: &GenerateRequest,
    streamed: bool,
) -> Result<Begun<Answer>, CallError> {
    let parts = wire::parts(request)
        .map_err(|error| refused(ErrorKind::InvalidRequest, &error.to_string()))?;
    let (source, request_id) = if streamed {
        stream(line, request, parts).await?
    } else {
        whole(line, request, parts).await?
    };
    let bytes_max = request.answer_bytes_max;
    let gather = Gather::new(request.family, bytes_max);
    Ok(Begun { answer: Answer { source, gather, bytes_max }, request_id })
}

async fn stream(
    line: &Line,
    request: &GenerateRequest,
    parts: wire::Parts,
) -> Result<(Source, Option<String>), CallError> {
    let answer = line
        .client
        .converse_stream()
        .model_id(&request.model_id)
        .set_messages(Some(parts.messages))
        .set_system(parts.system)
        .inference_config(parts.inference)
        .set_request_metadata(parts.metadata)
        .send()
        .await
        .map_err(|error| fault::before_answer(&error, line.address()))?;
    let request_id = answer.request_id().map(str::to_owned);
    Ok((Source::Stream(Box::new(answer)), request_id))
}

async fn whole(
    line: &Line,
    request: &GenerateRequest,
    parts: wire::Parts,
) -> Result<(Source, Option<String>), CallError> {
    let answer = line
        .client
        .converse()
        .model_id(&request.model_id)
        .set_messages(Some(parts.messages))
        .set_system(parts.system)
        .inference_config(parts.inference)
        .set_request_metadata(parts.metadata)
        .send()
        .await
        .map_err(|error| fault::before_answer(&error, line.address()))?;
    let request_id = answer.request_id().map(str::to_owned);
    Ok((Source::Whole(Some(Box::new(answer))), request_id))
}

impl Arriving for Answer {
    async fn next(&mut self, began: bool) -> Result<Option<&str>, CallError> {
        let bytes_max = self.bytes_max;
        match &mut self.source {
            Source::Stream(answer) => match answer.stream.recv().await {
                Err(error) => Err(fault::in_stream(&error, began)),
                Ok(None) => Ok(None),
                Ok(Some(event)) => match self.gather.event(event) {
                    Ok(added) => Ok(Some(added)),
                    Err(_) => Err(too_large(bytes_max)),
                },
            },
            Source::Whole(answer) => match answer.take() {
                None => Ok(None),
                Some(answer) => match self.gather.whole(*answer) {
                    Ok(()) => Ok(Some("")),
                    Err(_) => Err(too_large(bytes_max)),
                },
            },
        }
    }

    fn is_complete(&self) -> bool {
        self.gather.is_complete()
    }

    async fn rest(&mut self) {
        if let Source::Stream(answer) = &mut self.source {
            while let Ok(Some(_)) = answer.stream.recv().await {}
        }
    }

    fn partial(self) -> Option<String> {
        self.gather.partial()
    }

    fn finish(self) -> Result<native::Answer, Option<String>> {
        self.gather.finish()
    }
}
