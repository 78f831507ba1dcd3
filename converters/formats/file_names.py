"""Names of checkpoints' files, as on the Hugging Face Hub."""

WEIGHTS_FILE = "model.safetensors"
INDEX_SUFFIX = ".index.json"
INDEX_FILE = WEIGHTS_FILE + INDEX_SUFFIX
SHARD_SUFFIXES = (".safetensors", ".bin")  # of the files that an index of the same suffix may name
# In order of preference: never a pickle where safetensors are.
PREFERRED_FILES = (
    *(WEIGHTS_FILE, INDEX_FILE),
    *("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.safetensors.index.json"),
    "diffusion_pytorch_model.bin",
    *("pytorch_model.bin", "pytorch_model.bin.index.json"),
    *("model.fp16.safetensors", "flax_model.msgpack"),  # of repositories that have nothing else
)
