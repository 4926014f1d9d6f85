//! Makes the enum, its list and its table out of one text, so that they cannot differ.

/// Declares the catalogue; `catalogue.rs` shows the form.
macro_rules! catalogue {
    ($(
        group $title:literal, from $first:literal, raised by $raised_by:literal {
            $(
                $(#[doc = $meaning:literal])+
                $variant:ident = $number:literal $name:ident $code:ident $http_status:literal
                    $text_zh:literal, $text_en:literal, $advice:literal;
            )+
        }
    )+) => {
        /// A reason code, the stable name of what went wrong.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(
                $(#[doc = $meaning])+
                $variant,
            )+)+
        }

        impl Reason {
            /// Every reason, for documentation and tests.
            pub const ALL: [Self; [$($($number),+),+].len()] = [$($(Self::$variant),+),+];

            pub(super) const fn row(self) -> Row {
                match self {
                    $($(
                        Self::$variant => Row {
                            variant: stringify!($variant),
                            name: stringify!($name),
                            number: $number,
                            code: Code::$code,
                            http_status: $http_status,
                            text_zh: $text_zh,
                            text_en: $text_en,
                            meaning: concat!($($meaning),+),
                            advice: $advice,
                            group: Group {
                                title: $title,
                                first_number: $first,
                                raised_by: $raised_by,
                            },
                        },
                    )+)+
                }
            }
        }

        /// What the catalogue says of a reason.
        pub(super) struct Row {
            pub(super) variant: &'static str,
            pub(super) name: &'static str,
            pub(super) number: u16,
            pub(super) code: Code,
            pub(super) http_status: u16,
            pub(super) text_zh: &'static str,
            pub(super) text_en: &'static str,
            pub(super) meaning: &'static str,
            pub(super) advice: &'static str,
            pub(super) group: Group,
        }
    };
}

pub(super) use catalogue;
