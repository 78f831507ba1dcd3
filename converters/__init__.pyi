"""The public names and where they are, read by type checkers and by `converters/__init__.py`."""

from .checkpoints import read_checkpoint as read_checkpoint
from .checkpoints import write_checkpoint as write_checkpoint
from .comparison.compare import Comparison as Comparison
from .comparison.compare import compare as compare
from .errors import CheckpointError as CheckpointError
from .errors import ConversionError as ConversionError
from .errors import ConverterError as ConverterError
from .matching.names_file import read_names as read_names
from .matching.names_file import write_names as write_names
from .matching.rules import Fuse as Fuse
from .matching.rules import Keep as Keep
from .matching.rules import Orthogonalize as Orthogonalize
from .matching.rules import Reshape as Reshape
from .matching.rules import Split as Split
from .matching.rules import Transpose as Transpose
from .matching.rules import Unflatten as Unflatten
from .porting.ported import Ported as Ported
from .porting.ported import port as port
from .state_dict import convert as convert
from .state_dict import match as match
from .state_dict import to_torch as to_torch
