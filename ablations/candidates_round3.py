"""Round 3 of candidates, on the validation part of LFW, as it was run: python candidates_round3.py NAME:SEED[:RATE] ..."""
import sys, json, os, time
os.environ["TQDM_DISABLE"]="1"
import torch, functools
import torch.nn.functional as F
from torch import nn
import dcbh_core.model as M, dcbh_core.training as T, dcbh_core.peers as P, dcbh_core.losses as L
from dcbh_core import Config, evaluate, load_split
from dcbh_core.faces import validation_split
from ablations.identity import DATA_FIELDS

def make_head(kind, block=6):
    class Head(nn.Module):
        def __init__(self, bits, features):
            super().__init__()
            self.shape=(bits,2,block//2)
            self.linear=nn.Linear(features, bits*block); self.bn=nn.BatchNorm1d(bits*block, eps=1e-3)
            self.out=nn.BatchNorm1d(bits, eps=1e-3) if "bn" in kind else nn.Identity()
        def forward(self,f):
            m=self.bn(self.linear(f)).unflatten(1,self.shape).logsumexp(3)
            return self.out(m[:,:,0]-m[:,:,1])
    return Head

class Obj(L.Objective):
    def __init__(self, config, n, spec):
        super().__init__()
        self.spec=spec
        self.weights={"main":1.0,"feature":spec.get("feature",0.0),"quantization":spec.get("q",0.0),"center":spec.get("center",0.0)}
        self.target=spec.get("target",1.0)
        c=P.code_centers(n, config.bits, config.seed)
        if spec.get("init")=="random": c=torch.randn(n,config.bits)
        self.centers=nn.Parameter(c, requires_grad=not spec.get("fixed",False))
        d=M.descriptor_size(config)
        self.fc=nn.Parameter(torch.randn(n,d)) if spec.get("fcos") else None
    def terms(self,o,y):
        s=self.spec; k=s["main"]
        n=len(self.centers)
        own=F.one_hot(y,n)
        z = o.relaxed if s.get("on")=="q" else o.continuous
        if k=="ce": main=F.cross_entropy(o.code_logits,y)
        elif k=="cos":
            cos=F.normalize(z)@F.normalize(self.centers).T
            main=F.cross_entropy(s["s"]*(cos-s["m"]*own),y)
        elif k=="csq": main=P.central_loss(o.continuous,y,self.centers.detach())
        elif k=="ce+csq": main=F.cross_entropy(o.code_logits,y)+s["mix"]*P.central_loss(o.continuous,y,self.centers.detach())
        elif k=="ce+cos":
            cos=F.normalize(z)@F.normalize(self.centers).T
            main=F.cross_entropy(o.code_logits,y)+s["mix"]*F.cross_entropy(s["s"]*(cos-s["m"]*own),y)
        elif k=="selfcenter":  # pull to the sign of a learned centre
            cos=F.normalize(z)@F.normalize(self.centers).T
            main=F.cross_entropy(s["s"]*(cos-s["m"]*own),y)+s["mix"]*P.central_loss(o.continuous,y,self.centers.detach().sign())
        if s.get("fcos"):
            cf=F.normalize(o.descriptor)@F.normalize(self.fc).T
            feat=F.cross_entropy(s["fcos"]*(cf-s.get("fm",0.2)*own),y)
        else: feat=F.cross_entropy(o.feature_logits,y,label_smoothing=s.get("fls",0.0))
        return {"main":main,"feature":feat,"quantization":L.quantization_loss(o.relaxed,self.target),"center":L.center_loss(o.descriptor,y,self.centers.detach()[:, :1]*0) if False else o.relaxed.sum()*0}

SPECS={
 "mass_pooled": dict(head="mass", main="ce", feature=1.0,q=0.1),
 "massbn_pooled": dict(head="massbn", main="ce", feature=1.0,q=0.1),
 "cos8": dict(head="massbn", main="cos", s=8., m=.2, feature=1.0,q=0.1),
 "cos16": dict(head="massbn", main="cos", s=16., m=.2, feature=1.0,q=0.1),
 "cos8nofeat": dict(head="massbn", main="cos", s=8., m=.2, feature=0.0,q=0.1),
 "cosfix8": dict(head="massbn", main="cos", s=8., m=.2, fixed=True, feature=1.0,q=0.0),
 "csqfeat": dict(head="massbn", main="csq", feature=1.0,q=0.0),
 "csqfeat.3": dict(head="massbn", main="csq", feature=0.3,q=0.0),
 "ce+csq.3": dict(head="massbn", main="ce+csq", mix=.3, feature=1.0,q=0.1),
 "ce+csq1": dict(head="massbn", main="ce+csq", mix=1., feature=1.0,q=0.1),
 "self.1": dict(head="massbn", main="selfcenter", s=8., m=.2, mix=.1, feature=1.0,q=0.0),
 "self1": dict(head="massbn", main="selfcenter", s=8., m=.2, mix=1., feature=1.0,q=0.0),
 "direct": dict(head="direct", main="ce", feature=1.0,q=0.1),
 "directcos8": dict(head="direct", main="cos", s=8., m=.2, feature=1.0,q=0.1),
 "massbn_fcos16": dict(head="massbn", main="ce", feature=1.0,q=0.1,fcos=16.,fm=.2),
}
SPECS["mass_wd1e-3"]=dict(head="mass", main="ce", feature=0.0,q=0.1,wd=1e-3)
SPECS["ce+cosfix"]=dict(head="massbn", main="ce+cos", mix=1., s=8., m=.2, fixed=True, feature=1.0,q=0.0)
SPECS["ce+csq.1"]=dict(head="massbn", main="ce+csq", mix=.1, feature=1.0,q=0.1)
SPECS["cos4"]=dict(head="massbn", main="cos", s=4., m=.2, feature=1.0,q=0.1)
SPECS["cos8m0"]=dict(head="massbn", main="cos", s=8., m=.0, feature=1.0,q=0.1)
DIRECT=M.HEADS["direct"]
def run(name, seed, lr=2e-3, epochs=30, dataset="lfw"):
    spec=SPECS[name]
    base=dict(dataset=dataset,new_people=.25,queries_per_identity=3,epochs=epochs,batch_size=64,weight_decay=spec.get("wd",2e-4),width=.5)
    if dataset=="lfw": base["min_faces"]=10
    else: base["width"]=.25; base["epochs"]=60
    config=Config(**base,objective="dcbh",head="direct",learning_rate=spec.get("lr",lr),seed=seed)
    M.HEADS["direct"]=DIRECT if spec["head"]=="direct" else make_head(spec["head"],spec.get("block",6))
    T.OBJECTIVES["dcbh"]=lambda c,n: Obj(c,n,spec)
    r=config.resolved()
    split=VS(Config(**{f:getattr(r,f) for f in DATA_FIELDS}))
    t=time.perf_counter()
    model,h=T.train(config,split.training)
    sec=time.perf_counter()-t
    out=[]
    for mirror in (False,):
        for q,g in ((split.queries,split.gallery),(split.new_queries,split.new_gallery)):
            out.append(evaluate(model.encode(q.images),q.labels,model.encode(g.images),g.labels).map)
    row=dict(name=name,seed=seed,lr=config.learning_rate,dataset=dataset,map=round(out[0],4),new=round(out[1],4),score=round(sum(out)/2,4),sec=round(sec,1),last={k:round(v,3) for k,v in h[-1].items()})
    with open("round3.jsonl","a") as f: f.write(json.dumps(row)+"\n")
    print(row,flush=True)
@functools.cache
def VS(c): return validation_split(load_split(c).training)
if __name__=="__main__":
    torch.set_num_threads(int(os.environ.get("THREADS","1")))
    for job in sys.argv[1:]:
        n,s,*rest=job.split(":")
        run(n,int(s),*( [float(rest[0])] if rest else []), dataset=os.environ.get("DS","lfw"))
