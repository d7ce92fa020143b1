"""The lab: one machine that stands in for AWS, so that site.yml converges real servers with no AWS account."""

import pathlib
import sys

# the collection that this clone is: the lab uses parts of it
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / ".ansible/collections"))
