//! What a body says, in words that all interfaces share, and the pieces that bodies are read by.
//! Must not know: any interface's own fields, what the answer will be.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::wanted::Wanted;

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaker {
    System,
    User,
    Assistant,
}

impl Speaker {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// One text of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    pub(crate) speaker: Speaker,
    /// Whether a turn begins here; a turn may hold several texts.
    pub(crate) opens: bool,
    pub(crate) text: Text<'a>,
}

/// What a body says.
#[derive(Debug, Default)]
pub(crate) struct Heard<'a> {
    /// Every text, in order.
    pub(crate) lines: Vec<Line<'a>>,
    /// How many turns there are, the system's not counted.
    pub(crate) turns: usize,
    /// What the body's own fields ask for; a schema within a prompt is looked for later.
    pub(crate) asked: Option<Wanted>,
    /// Bytes of tools and output schemas, which count as input.
    pub(crate) declared_bytes: usize,
    /// The longest answer, in tokens.
    pub(crate) max_tokens: u64,
    /// Strings that end the answer.
    pub(crate) stops: Vec<String>,
    /// A remark for the call log.
    pub(crate) note: Option<&'static str>,
}

impl<'a> Heard<'a> {
    /// Adds the system's texts.
    pub(crate) fn system(&mut self, texts: impl IntoIterator<Item = Text<'a>>) {
        self.lines.extend(texts.into_iter().map(|text| Line {
            speaker: Speaker::System,
            opens: true,
            text,
        }));
    }

    /// Adds a turn.
    pub(crate) fn turn(&mut self, speaker: Speaker, texts: impl IntoIterator<Item = Text<'a>>) {
        self.turns += 1;
        let mut opens = true;
        self.lines.extend(texts.into_iter().map(|text| Line {
            speaker,
            opens: std::mem::take(&mut opens),
            text,
        }));
    }

    /// Whether the last turn is an assistant's, which the answer would go on from.
    pub(crate) fn ends_with_assistant(&self) -> bool {
        self.lines.last().is_some_and(|line| line.speaker == Speaker::Assistant)
    }
}

/// A text that is borrowed from the body where it holds no escapes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Text<'a>(pub(crate) Cow<'a, str>);

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reads;
        impl<'de> Visitor<'de> for Reads {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }

            fn visit_string<E: Error>(self, text: String) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text)))
            }
        }
        deserializer.deserialize_str(Reads)
    }
}

/// A content that is one string or a list of blocks, of which those with a text count.
#[derive(Debug, Default)]
pub(crate) struct Content<'a> {
    /// The blocks; one where the content is a string.
    pub(crate) blocks: Vec<Block<'a>>,
}

/// One block: text, or something else.
#[derive(Debug, Default, serde::Deserialize)]
pub(crate) struct Block<'a> {
    #[serde(borrow)]
    pub(crate) text: Option<Text<'a>>,
}

impl<'a> Content<'a> {
    /// The texts alone.
    pub(crate) fn into_texts(self) -> impl Iterator<Item = Text<'a>> {
        self.blocks.into_iter().filter_map(|block| block.text)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Content<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reads;
        impl<'de> Visitor<'de> for Reads {
            type Value = Content<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a list of content blocks")
            }

            fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
                Ok(Content::default())
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                let text = Some(Text(Cow::Borrowed(text)));
                Ok(Content { blocks: vec![Block { text }] })
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                let text = Some(Text(Cow::Owned(text.to_owned())));
                Ok(Content { blocks: vec![Block { text }] })
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut blocks = Vec::new();
                while let Some(block) = list.next_element()? {
                    blocks.push(block);
                }
                Ok(Content { blocks })
            }
        }
        deserializer.deserialize_any(Reads)
    }
}

/// A body that is read field by field, so that unknown fields are noticed on the way.
pub(crate) trait Fields<'a>: Default {
    /// Takes the value of a field; false, and nothing taken, where the body has none of that name.
    fn take<A: MapAccess<'a>>(&mut self, name: &str, values: &mut A) -> Result<bool, A::Error>;
}

/// A body and the names in it that are none of its fields.
#[derive(Debug)]
pub(crate) struct Fielded<B> {
    pub(crate) body: B,
    pub(crate) unknown: Vec<String>,
}

impl<'de, B: Fields<'de>> Deserialize<'de> for Fielded<B> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reads<B>(PhantomData<B>);
        impl<'de, B: Fields<'de>> Visitor<'de> for Reads<B> {
            type Value = Fielded<B>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fielded = Fielded { body: B::default(), unknown: Vec::new() };
                while let Some(name) = map.next_key::<Text<'de>>()? {
                    if !fielded.body.take(&name, &mut map)? {
                        map.next_value::<IgnoredAny>()?;
                        fielded.unknown.push(name.0.into_owned());
                    }
                }
                Ok(fielded)
            }
        }
        deserializer.deserialize_map(Reads(PhantomData))
    }
}
