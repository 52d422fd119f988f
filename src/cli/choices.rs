//! The library's enums as values of options: what each is called on the command line, and what its help says.

use clap::ValueEnum;
use clap::builder::PossibleValue;
use ichor::Grade;
use ichor::batch::Extra;
use ichor::phantom::Kind;
use ichor::scan::brain::Method;
use ichor::scan::second_opinion::Method as Finder;
use ichor::scan::segment::Interpolation;
use log::LevelFilter;

/// A value of an enum of the library, chosen on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice<T>(pub T);

/// The values of an enum that can be chosen, in the order in which they are listed.
macro_rules! choices {
    ($enum:ident: $($variant:ident is $name:literal $(: $help:literal)?),+ $(,)?) => {
        impl ValueEnum for Choice<$enum> {
            fn value_variants<'a>() -> &'a [Self] {
                &[$(Choice($enum::$variant)),+]
            }

            fn to_possible_value(&self) -> Option<PossibleValue> {
                match self.0 {
                    $($enum::$variant => Some(PossibleValue::new($name)$(.help($help))?),)+
                    #[allow(unreachable_patterns, reason = "not every value of every enum can be chosen")]
                    _ => None,
                }
            }
        }

        impl From<Choice<$enum>> for $enum {
            fn from(choice: Choice<$enum>) -> $enum {
                choice.0
            }
        }
    };
}

choices!(LevelFilter: Error is "error", Warn is "warn", Info is "info", Debug is "debug");

choices!(Method:
    Skull is "skull": "Soft tissue inside the skull: the most robust",
    Bet is "bet": "BET (Smith 2002) with the CT protocol of Muschelli 2015",
);

choices!(Finder:
    Network is "network": "The network whose weights are loaded",
    Pitchperfect is "pitchperfect": "PItcHPERFeCT's published logistic model (Muschelli et al. 2017)",
);

choices!(Grade:
    Exact is "exact": "In f32: within 0.01% of the largest logit",
    Fast is "fast": "In f16 on tensor cores, sums in f32: within 1% of the largest logit",
);

choices!(Interpolation:
    Linear is "linear": "As the released DeepBleed program does",
    Nearest is "nearest": "As the DeepBleed paper says",
);

choices!(Extra:
    Brain is "brain": "NAME_brain.nii.gz: the brain mask, on the scan's grid",
    Probability is "probability": "NAME_probability.nii.gz: the network's probability, on the scan's grid",
    Template is "template": "NAME_template.nii.gz and NAME_template_ich.nii.gz: network input and mask in template space",
    Transform is "transform": "NAME_to_template.tfm: ITK transform that takes template points to scan points",
);

choices!(Kind:
    Deep is "deep": "Intracerebral, in basal ganglia or thalamus",
    Lobar is "lobar": "Intracerebral, in a lobe",
    Infratentorial is "infratentorial": "In cerebellum or brainstem",
    Intraventricular is "intraventricular": "In the ventricles",
    Subdural is "subdural": "Subdural, over the convexity or along the falx",
);
