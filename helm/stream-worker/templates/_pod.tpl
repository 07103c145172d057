{{/* Two lists in one: those of `own` whose `key` is none of `given`, then `given`, in which each is there once and none is `fixed`. */}}
{{- define "stream-worker.united" -}}
{{- $key := .key -}}
{{- $names := list -}}
{{- range .given -}}
{{- $name := get . $key -}}
{{- if has $name $.fixed -}}
{{- fail (printf "%s: the %s %s is that of the chart; give another" $.what $key $name) -}}
{{- end -}}
{{- if has $name $names -}}
{{- fail (printf "%s: there are two with the %s %s" $.what $key $name) -}}
{{- end -}}
{{- $names = append $names $name -}}
{{- end -}}
{{- $united := list -}}
{{- range .own -}}
{{- if not (has (get . $key) $names) -}}
{{- $united = append $united . -}}
{{- end -}}
{{- end -}}
{{- concat $united (.given | default list) | toYaml -}}
{{- end }}

{{- define "stream-worker.env" -}}
{{- $own := list
  (dict "name" "POD_NAME" "valueFrom" (dict "fieldRef" (dict "fieldPath" "metadata.name")))
  (dict "name" "POD_NAMESPACE" "valueFrom" (dict "fieldRef" (dict "fieldPath" "metadata.namespace")))
  (dict "name" "NODE_NAME" "valueFrom" (dict "fieldRef" (dict "fieldPath" "spec.nodeName")))
  (dict "name" "OTEL_RESOURCE_ATTRIBUTES" "value" "k8s.pod.name=$(POD_NAME),k8s.namespace.name=$(POD_NAMESPACE),k8s.node.name=$(NODE_NAME)") -}}
{{- include "stream-worker.united" (dict "own" $own "given" .Values.env "fixed" list "key" "name" "what" "env") -}}
{{- end }}

{{/* What is mounted, as JSON: `root`, and `early` for a pod that runs before the objects of the chart are there. */}}
{{- define "stream-worker.mounted" -}}
{{- $values := .root.Values -}}
{{- $suffix := .early | ternary "-apply" "" -}}
{{- $specName := include "stream-worker.configMapName" .root -}}
{{- $secretName := include "stream-worker.credentialsName" .root -}}
{{- $volumes := list
  (dict "name" "tmp" "emptyDir" (dict "sizeLimit" $values.tmp.sizeLimit))
  (dict "name" "spec" "configMap" (dict
    "name" (empty $values.spec | ternary $specName (print $specName $suffix))
    "items" (list (dict "key" (empty $values.spec | ternary $values.existingConfigMap.key "spec.yaml") "path" "spec.yaml")))) -}}
{{- $mounts := list
  (dict "name" "tmp" "mountPath" "/tmp")
  (dict "name" "spec" "mountPath" "/etc/stream-worker" "readOnly" true) -}}
{{- $handlers := include "stream-worker.handlersName" .root -}}
{{- if and $handlers (not .early) -}}
{{- $volumes = append $volumes (dict "name" "handlers" "configMap" (dict "name" $handlers)) -}}
{{- $mounts = append $mounts (dict "name" "handlers" "mountPath" $values.handlers.mountPath "readOnly" true) -}}
{{- end -}}
{{- if $secretName -}}
{{- $secretName = empty $values.credentials.values | ternary $secretName (print $secretName $suffix) -}}
{{- $volumes = append $volumes (dict "name" "credentials" "secret" (dict "secretName" $secretName "defaultMode" 288)) -}}
{{- $mounts = append $mounts (dict "name" "credentials" "mountPath" $values.credentials.mountPath "readOnly" true) -}}
{{- end -}}
{{- if $values.tls.existingSecret -}}
{{- $volumes = append $volumes (dict "name" "tls" "secret" (dict "secretName" $values.tls.existingSecret "defaultMode" 288)) -}}
{{- $mounts = append $mounts (dict "name" "tls" "mountPath" $values.tls.mountPath "readOnly" true) -}}
{{- end -}}
{{- dict "volumes" $volumes "mounts" $mounts | toJson -}}
{{- end }}

{{/* `/tmp` alone may be that of the user, who may want it larger; the others hold what the worker is started with. */}}
{{- define "stream-worker.volumes" -}}
{{- $given := tpl (toYaml .root.Values.extraVolumes) .root | fromYamlArray -}}
{{- $own := (include "stream-worker.mounted" . | fromJson).volumes -}}
{{- $fixed := list -}}
{{- range $own -}}{{- $fixed = append $fixed .name -}}{{- end -}}
{{- range .root.Values.workload.volumeClaimTemplates -}}
{{- $name := dig "metadata" "name" "" . -}}
{{- if has $name $fixed -}}
{{- fail (printf "workload.volumeClaimTemplates: the name %s is that of a volume of the chart; give another" $name) -}}
{{- end -}}
{{- end -}}
{{- include "stream-worker.united" (dict "own" $own "given" $given "fixed" (without $fixed "tmp") "key" "name" "what" "extraVolumes") -}}
{{- end }}

{{- define "stream-worker.volumeMounts" -}}
{{- $given := list -}}
{{- range tpl (toYaml .root.Values.extraVolumeMounts) .root | fromYamlArray -}}
{{- $given = append $given (merge (dict "mountPath" (.mountPath | trimSuffix "/")) .) -}}
{{- end -}}
{{- $own := (include "stream-worker.mounted" . | fromJson).mounts -}}
{{- $fixed := list -}}
{{- range $own -}}{{- $fixed = append $fixed (.mountPath | trimSuffix "/") -}}{{- end -}}
{{- include "stream-worker.united" (dict "own" $own "given" $given "fixed" (without $fixed "/tmp") "key" "mountPath" "what" "extraVolumeMounts") -}}
{{- end }}

{{/* What every pod of the chart is told: who it is and where it may run. */}}
{{- define "stream-worker.placement" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}

{{/* What every container of the chart is made of. */}}
{{- define "stream-worker.container" -}}
image: {{ include "stream-worker.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  {{- toYaml .Values.securityContext | nindent 2 }}
{{- end }}

{{- define "stream-worker.args" -}}
{{- $run := .Values.run -}}
{{- $args := list "run" "/etc/stream-worker/spec.yaml" "--listen" (printf "%s:%v" .Values.http.host .Values.http.port) -}}
{{- $args = concat $args (list "--log-level" $run.logLevel "--log-format" $run.logFormat) -}}
{{- with $run.only -}}{{- $args = concat $args (list "--only" (join "," .)) -}}{{- end -}}
{{- if $run.createTopics -}}{{- $args = append $args "--create-topics" -}}{{- end -}}
{{- if gt (int $run.processes) 1 -}}{{- $args = concat $args (list "--processes" ($run.processes | toString)) -}}{{- end -}}
{{- include "stream-worker.furtherArgs" $run.extraArgs -}}
{{- concat $args ($run.extraArgs | default list) | toYaml -}}
{{- end }}

{{/* Refuse options that the chart gives by other values: the later of two would count. */}}
{{- define "stream-worker.furtherArgs" -}}
{{- $values := dict
  "--listen" "http.host and http.port" "--log-level" "run.logLevel" "--log-format" "run.logFormat"
  "--only" "run.only" "--create-topics" "run.createTopics" "--processes" "run.processes" -}}
{{- range . -}}
{{- $option := regexFind "^[^=]*" . -}}
{{- with get $values $option -}}
{{- fail (printf "run.extraArgs: %s is given by the chart; set %s" $option .) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* The spread of the pods; a constraint selects them by default, those of the same revision. */}}
{{- define "stream-worker.spread" -}}
{{- $revision := eq .Values.workload.kind "StatefulSet" | ternary "controller-revision-hash" "pod-template-hash" -}}
{{- $selected := dict
  "labelSelector" (dict "matchLabels" (include "stream-worker.selectorLabels" . | fromYaml))
  "matchLabelKeys" (list $revision) -}}
{{- $constraints := list -}}
{{- range .Values.topologySpreadConstraints -}}
{{- $constraints = append $constraints (hasKey . "labelSelector" | ternary . (merge (deepCopy .) $selected)) -}}
{{- end -}}
{{- toYaml $constraints -}}
{{- end }}

{{/* The pods of the Deployment or StatefulSet. */}}
{{- define "stream-worker.podTemplate" -}}
{{- $annotations := .Values.podAnnotations | default dict | deepCopy -}}
{{- if and .Values.workload.rollOnConfig (or .Values.spec .Values.handlers.files) -}}
{{- $_ := set $annotations "checksum/config" (list .Values.spec .Values.handlers.files | toJson | sha256sum) -}}
{{- end -}}
{{- if and .Values.workload.rollOnSecret .Values.credentials.values -}}
{{- $_ := set $annotations "checksum/secret" (.Values.credentials.values | toJson | sha256sum) -}}
{{- end -}}
metadata:
  labels:
    {{- merge (include "stream-worker.selectorLabels" . | fromYaml) (.Values.podLabels | default dict) (.Values.commonLabels | default dict) | toYaml | nindent 4 }}
  {{- with merge $annotations (.Values.commonAnnotations | default dict) }}
  annotations:
    {{- tpl (toYaml .) $ | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ include "stream-worker.serviceAccountName" . }}
  terminationGracePeriodSeconds: {{ include "stream-worker.gracePeriod" . }}
  {{- include "stream-worker.placement" . | nindent 2 }}
  {{- with .Values.topologySpreadConstraints }}
  topologySpreadConstraints:
    {{- include "stream-worker.spread" $ | nindent 4 }}
  {{- end }}
  {{- with .Values.initContainers }}
  initContainers:
    {{- tpl (toYaml .) $ | nindent 4 }}
  {{- end }}
  containers:
    - name: worker
      {{- include "stream-worker.container" . | nindent 6 }}
      args:
        {{- include "stream-worker.args" . | nindent 8 }}
      env:
        {{- include "stream-worker.env" . | nindent 8 }}
      {{- with .Values.envFrom }}
      envFrom:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      ports:
        - name: http
          containerPort: {{ .Values.http.port }}
          protocol: TCP
      {{- range $probe := list "startupProbe" "livenessProbe" "readinessProbe" "lifecycle" "resources" }}
      {{- with get $.Values $probe }}
      {{ $probe }}:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- end }}
      volumeMounts:
        {{- include "stream-worker.volumeMounts" (dict "root" . "early" false) | nindent 8 }}
    {{- with .Values.extraContainers }}
    {{- tpl (toYaml .) $ | nindent 4 }}
    {{- end }}
  volumes:
    {{- include "stream-worker.volumes" (dict "root" . "early" false) | nindent 4 }}
{{- end }}

{{/* How pods are replaced. Another type than that of the default has been merged with what the default has beside it. */}}
{{- define "stream-worker.strategy" -}}
{{- $strategy := . | default dict -}}
{{- if ne ($strategy.type | default "RollingUpdate") "RollingUpdate" -}}
{{- $strategy = omit $strategy "rollingUpdate" -}}
{{- end -}}
{{- toYaml $strategy -}}
{{- end }}

{{- define "stream-worker.isScaled" -}}
{{- if or .Values.autoscaling.enabled .Values.keda.enabled -}}true{{- end -}}
{{- end }}
