import subprocess
import sys

# In a process of its own: what is declared stays declared.
SCRIPT = """
import sys, torch
from scoreinv._torchvision import declare_missing_operators

def declared():
    declare_missing_operators()
    return hasattr(torch.ops.torchvision, "nms") and hasattr(torch.ops.torchvision, "qnms")

torch.version.cuda = "13.0"
sys.path.insert(0, sys.argv[1] + "/cuda")
print(declared())
torch.version.cuda = None
sys.path[0] = sys.argv[1] + "/cpu"
print(declared())
sys.path[0] = sys.argv[1] + "/cuda"
print(declared(), declared())
"""


def test_declares_for_a_cuda_torchvision_beside_a_cpu_torch_alone(tmp_path):
    for build, version in {"cuda": "0.28.0+cu130", "cpu": "0.28.0+cpu"}.items():
        package = tmp_path / build / "torchvision"
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "version.py").write_text(f"__version__ = '{version}'\n")
    arguments = [sys.executable, "-c", SCRIPT, str(tmp_path)]
    out = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout
    assert out.split() == ["False", "False", "True", "True"]
