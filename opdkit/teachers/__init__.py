"""Teachers: in this process, the student itself, with other tokenizers, and behind servers."""

from opdkit.teachers.base import Capabilities, OpenTeacher, Teacher, TeacherContext
from opdkit.teachers.extrapolated import ExtrapolatedTeacher, OpenExtrapolatedTeacher
from opdkit.teachers.kept import KeptTeacher
from opdkit.teachers.live import OpenSelfTeacher, SelfTeacher
from opdkit.teachers.local import LocalTeacher, OpenLocalTeacher, score_in_batches
from opdkit.teachers.offloaded import OffloadedTeacher, ResidentSlot, open_teachers
from opdkit.teachers.privileged import OpenPrivilegedTeacher, PrivilegedTeacher
from opdkit.teachers.remote import RemoteTeacher
from opdkit.teachers.retokenized import OpenRetokenizedTeacher, RetokenizedTeacher
from opdkit.teachers.vllm import VLLMTeacher

__all__ = [
    "Capabilities",
    "ExtrapolatedTeacher",
    "KeptTeacher",
    "LocalTeacher",
    "OffloadedTeacher",
    "OpenExtrapolatedTeacher",
    "OpenLocalTeacher",
    "OpenPrivilegedTeacher",
    "OpenRetokenizedTeacher",
    "OpenSelfTeacher",
    "OpenTeacher",
    "PrivilegedTeacher",
    "RemoteTeacher",
    "ResidentSlot",
    "RetokenizedTeacher",
    "SelfTeacher",
    "Teacher",
    "TeacherContext",
    "VLLMTeacher",
    "open_teachers",
    "score_in_batches",
]
