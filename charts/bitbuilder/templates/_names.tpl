{{/* Turns a release into names and labels. */}}

{{- define "bitbuilder.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- printf "%s-controller" .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s-controller" .Release.Name .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{- define "bitbuilder.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "bitbuilder.fullname" .) -}}
{{- end }}

{{- define "bitbuilder.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end }}

{{/* What never changes in the life of a release: selectors are made of it. */}}
{{- define "bitbuilder.selector" -}}
app.kubernetes.io/name: bitbuilder-controller
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "bitbuilder.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{ include "bitbuilder.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: bitbuilder
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}
