"""Audits: where a NaN is born, where a mask is lost, whether padding changes answers.

Importing this room imports no Keras: what runs a model is imported when it is called.
"""

from keras_padsafe.audit.audit_report import AuditReport as AuditReport
from keras_padsafe.audit.check_padding import check_padding as check_padding
from keras_padsafe.audit.codes import CODES as CODES
from keras_padsafe.audit.finding import Finding as Finding
from keras_padsafe.audit.padding_report import PaddingReport as PaddingReport
