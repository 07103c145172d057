{{- define "stream-worker.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end }}

{{/* 50 characters leave room, in the 63 of a label, for suffixes of ours and a StatefulSet's revisions. */}}
{{- define "stream-worker.fullname" -}}
{{- $name := include "stream-worker.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{/* What is selected by: nothing that an upgrade changes. */}}
{{- define "stream-worker.selectorLabels" -}}
app.kubernetes.io/name: {{ include "stream-worker.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: worker
{{- end }}

{{/* Name, labels and annotations of an object: `root`, and if need be `suffix`, `component`, `labels`, `annotations`. */}}
{{- define "stream-worker.metadata" -}}
{{- $root := .root -}}
{{- $own := dict
  "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_")
  "app.kubernetes.io/name" (include "stream-worker.name" $root)
  "app.kubernetes.io/instance" $root.Release.Name
  "app.kubernetes.io/version" ($root.Values.image.tag | default $root.Chart.AppVersion | trunc 63 | trimSuffix "-")
  "app.kubernetes.io/managed-by" $root.Release.Service
  "app.kubernetes.io/component" (.component | default "worker")
  "app.kubernetes.io/part-of" "stream-worker" -}}
name: {{ include "stream-worker.fullname" $root }}{{ with .suffix }}-{{ . }}{{ end }}
namespace: {{ $root.Release.Namespace }}
labels:
  {{- merge $own (.labels | default dict) ($root.Values.commonLabels | default dict) | toYaml | nindent 2 }}
{{- with merge dict (.annotations | default dict) ($root.Values.commonAnnotations | default dict) }}
annotations:
  {{- tpl (toYaml .) $root | nindent 2 }}
{{- end }}
{{- end }}

{{- define "stream-worker.serviceAccountName" -}}
{{- $made := .Values.serviceAccount.create | ternary (include "stream-worker.fullname" .) "default" -}}
{{- .Values.serviceAccount.name | default $made -}}
{{- end }}

{{- define "stream-worker.image" -}}
{{- $repository := .Values.image.repository -}}
{{- with .Values.image.registry -}}{{- $repository = printf "%s/%s" . $repository -}}{{- end -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end }}

{{- define "stream-worker.configMapName" -}}
{{- .Values.existingConfigMap.name | default (include "stream-worker.fullname" .) -}}
{{- end }}

{{- define "stream-worker.handlersName" -}}
{{- if .Values.handlers.files -}}
{{- include "stream-worker.fullname" . }}-handlers
{{- else -}}
{{- .Values.handlers.existingConfigMap -}}
{{- end -}}
{{- end }}

{{- define "stream-worker.credentialsName" -}}
{{- if .Values.credentials.values -}}
{{- include "stream-worker.fullname" . -}}
{{- else -}}
{{- .Values.credentials.existingSecret -}}
{{- end -}}
{{- end }}
